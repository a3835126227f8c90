"""The tests; their paths mirror the source."""
