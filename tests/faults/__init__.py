# ruff: noqa: E501
r"""Every fault that is injected, and what comes of it; written by ``--faults-table``.

- 191 strangers connect to each of two workers, which have 60 file descriptors:
  strangers are turned away, and the workers meet
- 191 strangers connect to the driver's port, which has 60 file descriptors:
  goes on, and equals the unbroken run
- Spark puts 1 row, 7 or all into an Arrow batch:
  goes on, and equals the run with batches of Spark's size
- Spark's Python worker is killed by SIGKILL at a random moment, on a cluster:
  goes on, and equals the unbroken run
- Spark's Python worker is killed by SIGKILL, in local mode:
  `WorkerDiedError`: rank N on HOST: a Python process of Spark's was killed, or crashed: most often the machine or container ran out of memory
- a child ends by itself while its peers compute:
  `WorkerDiedError`: rank N on HOST: the worker's process ended by itself with exit code N
- a child is killed by SIGKILL:
  `WorkerDiedError`: rank N on HOST: the worker's process was ended by SIGKILL: killed from outside; most often the machine or container ran out of memory
- a child is killed by SIGKILL at a random moment, on a cluster:
  `WorkerDiedError`: rank N on HOST: the worker's process was ended by SIGKILL: killed from outside; most often the machine or container ran out of memory; or goes on, and equals the unbroken run
- a child is killed by SIGKILL, with model_dir set:
  `WorkerDiedError`: rank N on HOST: the worker's process was ended by SIGKILL: killed from outside; most often the machine or container ran out of memory; the next `fit(resume=True)` equals the unbroken run
- a child is stopped by SIGSTOP:
  `WorkerFrozenError`: rank N on HOST: the worker's process N gave no sign of life for N s (limit N s, spark.orca.heartbeat.timeout): stopped, swapping, or stuck in a call that never lets other threads run
- a child whose DataLoader has processes is killed by SIGKILL:
  `WorkerDiedError`: rank N on HOST: the worker's process was ended by SIGKILL: killed from outside; most often the machine or container ran out of memory
- a child's container has no memory left, and the kernel kills it:
  `WorkerDiedError`: rank N on HOST: the worker's process was ended by SIGKILL: killed from outside; most often the machine or container ran out of memory
- a creator's batches have no labels:
  `DataError`: a batch of data is a Tensor, not (x, y)
- a creator's batches have other axes on one rank:
  `DataError`: data makes other batches on rank N than on rank N: {'x': (floatN (rows, N, N)), 'y': floatN (rows, N)}, and {'x': (floatN (rows, N)), 'y': floatN (rows, N)}
- a creator's batches have other row shapes on one rank:
  `ModelError`: rank N on HOST: the model fails on two rows of its columns, x floatN (batch, N): RuntimeError: matN and matN shapes cannot be multiplied (NxN and NxN)
- a creator's iterator blocks for ever on one rank:
  waits, and says so after 60 s, then after 120 s and so on; Ctrl-C ends it
- a creator's iterator raises in mid-epoch on one rank:
  `WorkerError`: rank N on HOST: ValueError: line N is broken
- a creator's loader has no batches on one rank:
  `DataError`: data(config, batch_size) has made a loader without batches on rank N, and each worker's batches are its own
- a data creator raises on one rank:
  `WorkerError`: rank N on HOST: LookupError: there is no such table
- a data creator returns a number:
  `DataError`: data(config, batch_size) returned an int, which has no batches
- a data creator returns nothing:
  `DataError`: data(config, batch_size) returned None
- a data creator returns one batch:
  `DataError`: data(config, batch_size) returned a tuple of N, which is one batch and no loader
- a process of a creator's DataLoader is killed by SIGKILL:
  `WorkerError`: rank N on HOST: RuntimeError: DataLoader worker (pid(s) N, N) exited unexpectedly
- a process of a creator's DataLoader raises:
  `WorkerError`: rank N on HOST: ZeroDivisionError: division by zero
- a process of a creator's DataLoader with timeout=2 blocks for ever:
  `WorkerError`: rank N on HOST: RuntimeError: DataLoader timed out after N seconds
- a worker ends because its peer does, and the peer's Python worker is killed:
  goes on, and equals the unbroken run
- a worker's network cable is pulled:
  all other workers end, and name the silent one
- a worker's training raises:
  `WorkerError`: rank N on HOST: ZeroDivisionError: division by zero
- an allocation fails in Spark's Python worker:
  `WorkerError`: Spark's Python process ran out of memory: malloc of size N failed
- an allocation fails in a child:
  `WorkerError`: rank N on HOST: ArrowMemoryError: malloc of size N failed; or `WorkerError`: rank N on HOST: MemoryError: Unable to allocate N PiB for an array with shape (N,) and data type floatN
- an executor is lost, with spark.task.maxFailures=1 and speculation:
  goes on, and equals the unbroken run
- an executor's JVM is killed by SIGKILL at a random moment:
  goes on, and equals the unbroken run
- more workers are asked for than the cluster has slots:
  `SlotsError`: N workers need N slots at the same time, and URL has N
- somebody listens on the network, with spark.orca.encryption=true:
  hears no word of the job, which equals the one in clear
- strangers take a worker's last file descriptors:
  strangers are turned away, and the workers meet
- strangers take the driver's last file descriptors:
  strangers are turned away, and workers are answered
- the DataFrame's own expression raises:
  `WorkerError`: Spark could not finish the stage: [USER_RAISED_EXCEPTION] bad row here
- the creator closes the child's channel to its task:
  `WorkerDiedError`: rank N on HOST: the worker's process N lost its channel to Spark's task, but not its life, and was killed: code of the job has closed file descriptors that are not its own
- the creator holds a lock, which cannot be sent:
  `CreatorError`: model_creator cannot be sent to the workers, because it uses 'lock' of type lock, which cannot be pickled
- the creator of validation_data raises on one rank:
  `WorkerError`: rank N on HOST: LookupError: there is no such table
- the disk of Spark's temporary files cannot be written:
  `WorkerError`: Spark cannot write its temporary files: PATH: Read-only file system
- the disk of Spark's temporary files is full:
  `WorkerError`: rank N on HOST: rows cannot be written below PATH, Spark's directory for temporary files: No space left on device (N of N MB are free)
- the driver is killed by SIGKILL at a random moment:
  the next program's `fit(resume=True)` equals the unbroken run
- the framework is missing on the workers:
  `MissingPackageError`: the package 'tensorflow' is not installed on the worker HOST, whose Python is PATH
- the model's creator raises:
  `WorkerError`: rank N on HOST: LookupError: no such layer
- the training calls exit:
  `WorkerError`: rank N on HOST: SystemExit: N
- the training closes all of the child's file descriptors:
  `WorkerDiedError`: rank N on HOST: the worker's process N lost its channel to Spark's task, but not its life, and was killed: code of the job has closed file descriptors that are not its own
"""
