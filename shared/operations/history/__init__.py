"""Shows, replays and rebuilds from the history of all events."""
