"""What predictions become, and the other ways to have them."""
