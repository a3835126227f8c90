"""What every process does alike, so that a service is a page of domain code."""
