"""TODO sklearn."""
