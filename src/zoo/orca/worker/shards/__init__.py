"""What executors do with shards: the tasks, and the functions of ours that they run."""
