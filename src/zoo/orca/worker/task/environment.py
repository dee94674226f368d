"""How many threads a child starts: fixed in its environment, before any framework is imported."""


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables that give a child so many threads.

    OpenMP's is read by PyTorch and numpy's BLAS. NPROC is read by XLA's pool on CPUs, which would
    otherwise have a thread for each processor that the child may use at that moment.
    """
    return {"OMP_NUM_THREADS": str(threads), "NPROC": str(threads)}
