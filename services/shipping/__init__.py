"""Shipping: gives an order to the carrier once it is placed, paid and reserved."""
