"""The services, a folder each, and the one program that puts them together."""
