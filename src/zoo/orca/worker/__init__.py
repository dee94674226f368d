"""Code that runs on executors: the barrier task and the child process that trains."""
