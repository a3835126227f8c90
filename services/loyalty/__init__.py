"""Loyalty: a point for each whole unit that a customer orders, taken back if it is cancelled."""
