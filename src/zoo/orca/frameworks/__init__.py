"""Plug-ins that run a framework's ordinary training loop in the child; one file each."""
