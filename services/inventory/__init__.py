"""Inventory: manages the stock and reserves it for orders."""
