"""Process-wide settings of frameworks, restored before each job."""
