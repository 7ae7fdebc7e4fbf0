"""How often verdicts are right, measured on made-up stores whose truth is known."""
