"""The files that Docker Compose needs to run the services."""
