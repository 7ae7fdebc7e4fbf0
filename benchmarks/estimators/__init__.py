"""Other people's ways to know a test error, each from its paper, to compare with ours: see `comparison`."""
