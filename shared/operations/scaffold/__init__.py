"""Makes a new consumer."""
