"""What a session says about itself, and what the workers need from it."""
