"""What Docker Compose needs to run the services, and the checks of its packages and images."""
