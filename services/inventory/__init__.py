"""Inventory: what is in stock, and what of it has been put aside for which order."""
