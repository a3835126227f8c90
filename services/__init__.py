"""The services; each package is one service and imports no other."""
