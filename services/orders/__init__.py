"""Takes orders, payments and cancellations, and follows what becomes of each order."""
