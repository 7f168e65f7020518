"""What is run: protocols, folds, and the list of jobs. Nothing is trained here."""
