"""Email: tells customers by email what happens to their orders."""
