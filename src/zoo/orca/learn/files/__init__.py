"""What lies at a path: whose file it is, and which of a directory is the newest."""
