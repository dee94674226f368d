"""What driver and workers share: pure functions and frozen values over numpy and pyarrow."""
