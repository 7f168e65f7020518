"""Datasets without code: a YAML file says which of the user's files holds what."""
