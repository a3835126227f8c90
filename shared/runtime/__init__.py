"""The code of every service process, so that a service holds domain code only."""
