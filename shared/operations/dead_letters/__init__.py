"""Dead letters: listed, shown, retried and discarded."""
