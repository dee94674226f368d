"""The driver's SparkSession: made, adopted, ended; OrcaContext's options."""
