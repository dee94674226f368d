"""What any plug-in may use."""
