"""A data set: gradient descent on it, step by step, and what it shows."""
