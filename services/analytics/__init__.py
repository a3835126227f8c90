"""Analytics: counts events of every type and reports the shop's figures."""
