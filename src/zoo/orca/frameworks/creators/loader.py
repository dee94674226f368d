"""One worker's loader: made by the user's creator, and told what kind it is."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, Protocol

import numpy as np

from zoo.orca.errors import DataError
from zoo.orca.frameworks.creators.seeds import mixed, seed_all, seed_creator
from zoo.orca.frameworks.creators.waiting import Waiting
from zoo.orca.wire.packing import unpack
from zoo.orca.wire.plans.live import share_of
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created

_WAY = (
    "Return a tf.data.Dataset, a Keras PyDataset, a torch DataLoader or Dataset, or an iterable of "
    "batches (x, y)"
)


class Loader(Protocol):
    """One worker's batches of a data set.

    Attributes
    ----------
    is_dealt : bool
        Whether the ranks' loaders are parts of one data set, dealt out by Orca. Otherwise each is
        a rank's own.
    length : int or None
        The batches of a pass on this rank, if the loader tells.
    """

    is_dealt: bool
    length: int | None

    def batches(self, pass_index: int) -> Iterator[Any]:
        """Yield the batches of a pass, as the user's loader makes them."""

    def close(self) -> None:
        """End the loader's own processes."""


def make_loader(created: Created, collective: Collective, waiting: Waiting) -> Loader:
    """Call the user's creator, and return this worker's part of what it made; on all ranks.

    Raises
    ------
    DataError
        If it returned nothing that has batches.
    """
    call = _Call(created, collective)
    with waiting:
        made = call()
    torch, tensorflow = sys.modules.get("torch"), sys.modules.get("tensorflow")
    if torch is not None and isinstance(made, torch.utils.data.Dataset):
        from zoo.orca.frameworks.creators.of_torch import loader_over

        made = loader_over(made, created, call.batch_size, call.config)
    if torch is not None and isinstance(made, torch.utils.data.DataLoader):
        from zoo.orca.frameworks.creators.of_torch import DealtLoader, is_own

        if not is_own(made):
            return DealtLoader(made, created, collective)
        return OwnBatches(made, created, collective.rank)
    if tensorflow is not None and isinstance(made, tensorflow.data.Dataset):
        from zoo.orca.frameworks.creators.of_tensorflow import ArraysOf

        return ArraysOf(made, created, collective, call.batch_size)
    if is_keras_sequence(made):
        from zoo.orca.frameworks.creators.of_keras import DealtSequence

        return DealtSequence(made, created, collective)
    call.check(made)
    return OwnBatches(made, created, collective.rank, call)


class _Call:
    """A call of the user's creator, which may be repeated."""

    def __init__(self, created: Created, collective: Collective) -> None:
        rank, size = collective.rank, collective.size
        self.argument, self._seed = created.argument, created.seed
        self.batch_size = share_of(created.batch_size, rank, size)
        self._creator: Callable[..., Any] = unpack(created.creator.creator)
        more = {"batch_size": self.batch_size, "rank": rank, "size": size}
        given = {**unpack(created.config), **unpack(created.creator.config)}
        self.config: dict[str, Any] = {**given, **more}

    def __call__(self) -> Any:
        """Return what the creator makes, with seeds that are the same on all ranks."""
        seed_creator(self._seed)
        return self._creator(dict(self.config), self.batch_size)

    def check(self, made: object) -> None:
        """Raise if it has no batches."""
        said = f"{self.argument}(config, batch_size) returned"
        if made is None:
            raise DataError(f"{said} None\nEnd it with `return loader`. {_WAY}")
        kind = f"{type(made).__module__}.{type(made).__qualname__}".removeprefix("builtins.")
        arrays = isinstance(made, (np.ndarray, Mapping, str, bytes)) or hasattr(made, "numpy")
        if isinstance(made, tuple):
            raise DataError(
                f"{said} a tuple of {len(made)}, which is one batch and no loader\n{_WAY}; "
                "for arrays: tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size), or "
                "DataLoader(TensorDataset(x, y), batch_size)"
            )
        if arrays or kind.startswith("pyspark.") or not isinstance(made, Iterable):
            article = "an" if kind[0].lower() in "aeiou" else "a"
            raise DataError(f"{said} {article} {kind}, which has no batches\n{_WAY}")


class OwnBatches:
    """Each worker's own batches: of a generator, an iterable, or a loader with a user's sampler.

    Parameters
    ----------
    made : iterable
    created : Created
    rank : int
    again : callable, optional
        Makes another one, for iterators, which end with their first pass.
    """

    is_dealt = False

    def __init__(
        self,
        made: Iterable[Any],
        created: Created,
        rank: int,
        again: Callable[[], Any] | None = None,
    ) -> None:
        self._made, self._again = made, again
        self._created, self._rank = created, rank
        self._is_used = False
        self.length = length_of(made)

    def batches(self, pass_index: int) -> Iterator[Any]:
        """Yield the batches of a pass; an iterator is made anew for each but the first."""
        made = self._made
        if self._is_used and self._again is not None and iter(made) is made:
            made = self._again()
        self._is_used = True
        tell_pass(made, pass_index)
        seed_all(mixed(self._created.seed, pass_index, self._rank, 1))
        yield from one_pass(made)

    def close(self) -> None:
        """End the processes of a torch DataLoader that stay."""
        end_processes(self._made)


def tell_pass(made: object, pass_index: int) -> None:
    """Tell a loader, its samplers and its data set the number of the pass, if they want it."""
    for name in ("", "sampler", "batch_sampler", "dataset"):
        owner = getattr(made, name, None) if name else made
        tell = getattr(owner, "set_epoch", None)
        if callable(tell):
            tell(pass_index)


def one_pass(loader: Iterable[Any]) -> Iterator[Any]:
    """Yield a loader's batches, and end the processes that a torch DataLoader has for them.

    It would end them as it is collected; but an error on the way keeps it.
    """
    batches = iter(loader)
    try:
        yield from batches
    finally:
        end = getattr(batches, "_shutdown_workers", None)
        if callable(end) and not getattr(loader, "persistent_workers", False):
            end()


def end_processes(loader: object) -> None:
    """End the processes of a torch DataLoader that stay from pass to pass."""
    end = getattr(getattr(loader, "_iterator", None), "_shutdown_workers", None)
    if callable(end):
        end()


def length_of(made: Iterable[Any]) -> int | None:
    """Return how many batches a loader says that it has."""
    try:
        return len(made) if isinstance(made, Sized) else None
    except TypeError:  # as those of IterableDatasets say
        return None


def is_keras_sequence(made: object) -> bool:
    """Whether it is a PyDataset of Keras 3, or a Sequence of Keras 2."""
    return any(
        kind.__name__ in ("PyDataset", "Sequence")
        and kind.__module__.startswith(("keras.", "tf_keras."))
        for kind in type(made).__mro__
    )
