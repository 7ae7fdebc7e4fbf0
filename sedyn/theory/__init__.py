"""The limit: state evolution of a representative sample and a representative row, step by step."""
