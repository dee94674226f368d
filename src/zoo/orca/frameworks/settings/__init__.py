"""Frameworks' settings for the whole process, given back before each job."""
