"""The program that puts the services together."""
