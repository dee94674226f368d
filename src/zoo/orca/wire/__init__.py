"""What driver and workers both speak: pure functions and frozen values over numpy and pyarrow."""
