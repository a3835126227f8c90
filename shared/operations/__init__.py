"""Commands across services."""
