"""What workers report while a stage runs and when it fails, and what the user sees of it."""
