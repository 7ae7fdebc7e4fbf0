"""The same answers as the model's definitions, faster: without this folder no number changes beyond rounding."""
