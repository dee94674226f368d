"""How many threads a child starts: set in its environment, before any framework is imported."""


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables that set the child's number of threads.

    PyTorch and numpy's BLAS read OpenMP's variable. XLA's CPU pool reads NPROC. Without it, XLA
    would start one thread for each processor that the child may use at that moment.
    """
    return {"OMP_NUM_THREADS": str(threads), "NPROC": str(threads)}
