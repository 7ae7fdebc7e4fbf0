"""How far a run is from its theory, predicted: derivatives of a run in the weights of its samples and features."""
