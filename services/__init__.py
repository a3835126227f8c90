"""The services, a folder each."""
