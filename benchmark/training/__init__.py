"""A run as a function of its spec: data of a fold, the training loop, scores."""
