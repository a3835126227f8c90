"""Inventory: keeps the stock and reserves it for orders."""
