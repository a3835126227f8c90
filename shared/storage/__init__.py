"""One database for each service, and what keeps its facts and effects together."""
