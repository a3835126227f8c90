"""What makes the composed system out of the services."""
