"""What differs between TensorFlow, JAX and torch."""
