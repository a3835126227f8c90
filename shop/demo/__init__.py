"""`shop demo`: the whole system in one process, from the first order to the last check."""
