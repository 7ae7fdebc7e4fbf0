"""The test error from training data alone: what samples keep of their own gradients, and what is left without it."""
