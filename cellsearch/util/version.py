"""The version of the package, for what is written down of a run."""

__version__ = "0.1.0"
