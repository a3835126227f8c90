"""Dead letters: list, show, retry and discard them."""
