"""What every service process does, so that a service holds domain code only."""
