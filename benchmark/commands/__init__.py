"""What a user asks: one file a command."""
