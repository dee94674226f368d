"""Encrypted connections: whether a job has them, and TLS with the one certificate of the job."""
