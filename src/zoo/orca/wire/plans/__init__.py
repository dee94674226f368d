"""Which rank works on which row in which step: arithmetic, without a process."""
