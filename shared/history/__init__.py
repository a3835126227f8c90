"""Reading the record of all events, and copying from it."""
