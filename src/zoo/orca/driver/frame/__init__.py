"""A DataFrame as rows for the workers: its columns, checked; its partitions, placed."""
