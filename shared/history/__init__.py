"""Reads the history of all events, and copies events from it to a queue."""
