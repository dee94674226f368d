"""What predictions become."""
