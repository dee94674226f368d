"""Going on where executors are lost, with the slots that are left; with more once they are back."""
