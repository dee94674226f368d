"""What an estimator and its results show of themselves: event files, curves, tables."""
