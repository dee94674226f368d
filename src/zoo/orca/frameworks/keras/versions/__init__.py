"""What differs between Keras 2 and Keras 3."""
