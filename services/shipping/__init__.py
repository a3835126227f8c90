"""Shipping: hands an order to the carrier when it is placed, paid and reserved."""
