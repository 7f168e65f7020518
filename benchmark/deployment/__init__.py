"""What is taken away: predictors that work by themselves, kept, loaded, and applied to new data."""
