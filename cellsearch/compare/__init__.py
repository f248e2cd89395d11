"""Runs and raters side by side."""
