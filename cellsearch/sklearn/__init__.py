"""The search as a scikit-learn classifier, and its results as pandas frames."""
