"""What a broker must offer: one protocol a module."""
