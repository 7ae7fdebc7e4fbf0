"""The limit: state evolution of a representative sample and a representative first-layer row, step by step."""
