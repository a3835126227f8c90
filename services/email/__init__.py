"""Email: informs customers about their orders by email."""
