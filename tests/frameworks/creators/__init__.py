"""Tests of data that creators make on the workers."""
