"""Searches for hyperparameters: `auto_estimator.AutoEstimator` over spaces of `hp`."""
