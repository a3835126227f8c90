"""Messages between services: the broker as a port, and its two adapters."""
