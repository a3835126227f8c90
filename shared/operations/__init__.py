"""What people do across services, through the command line."""
