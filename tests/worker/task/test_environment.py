"""What a child is started with."""

from zoo.orca.worker.task.environment import thread_environment


def test_the_number_of_threads_is_the_environment_s() -> None:
    assert thread_environment(3) == {"OMP_NUM_THREADS": "3", "NPROC": "3"}
