"""Orders: takes, charges and cancels orders, and records what becomes of each."""
