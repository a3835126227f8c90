"""Orders: places, charges and cancels orders, and records the state of each."""
