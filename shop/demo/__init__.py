"""`shop demo`: shows the services at work in one process and checks their state at the end."""
