"""Code that runs on the driver: DataFrames in, one barrier stage, results out."""
