"""What a session says of itself, and what the workers need from it."""
