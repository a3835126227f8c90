"""Bytes across: the broker as a port, and the two adapters that fill it."""
