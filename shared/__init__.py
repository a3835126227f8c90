"""What all services share, from the contracts to the tools of the operator."""

__version__ = "1.0.0"
