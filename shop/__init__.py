"""The program `shop`, which combines the services and the commands."""
