"""Small things that every package may use."""
