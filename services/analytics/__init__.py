"""Counts what happens in the shop, whatever it is."""
