"""Loyalty: awards a customer points for each order and takes them back if it is cancelled."""
