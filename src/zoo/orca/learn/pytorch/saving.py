"""What an estimator of PyTorch models saves, loads and returns."""

import copy
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

from zoo.orca.errors import InvalidInputError, StateError
from zoo.orca.learn.arguments import packed_callbacks
from zoo.orca.learn.files.kinds import TORCH, torch_kind
from zoo.orca.learn.files.latest import latest_checkpoint
from zoo.orca.learn.files.states import without_optimizer
from zoo.orca.learn.predicting.column_function import ColumnPredictions
from zoo.orca.learn.pytorch import files
from zoo.orca.learn.pytorch.recipe import packed
from zoo.orca.learn.tracking.packaged import Package
from zoo.orca.wire.packing import State, unpack
from zoo.orca.wire.torch_options import CALLBACKS


class TorchFiles(ColumnPredictions):
    """Adds PyTorch's modules and files to the base estimator."""

    #: Whether the next `fit` must continue with the optimizer that was loaded.
    _insists = False
    #: The arguments of `from_torch` that travel, by name.
    _parts: Mapping[str, Any] = MappingProxyType({})

    latest_checkpoint = staticmethod(latest_checkpoint)

    @property
    def _numbers_only(self) -> str:
        return "PyTorch"

    @classmethod
    def _of_package(cls, package: Package, **options: Any) -> Self:
        """Return an estimator like the one that was packed; this unpickles names and bytes."""
        made = super()._of_package(package, **options)
        made._parts = unpack(package.model.creator)
        return made

    def get_model(self) -> Any:
        """Return the module with the estimator's weights, on the CPU of this process.

        Raises
        ------
        MissingPackageError
            If PyTorch is not installed on the driver.
        """
        return files.get_model(self._driver_job())

    def get_state_dict(self) -> dict[str, Any]:
        """Return ``epoch``, ``step``, and lists of state_dicts: models, optimizers, schedulers.

        Raises
        ------
        StateError
            If there is none before the first `fit` or `load`.
        """
        return files.state_dict(self._required_state("get"))

    def save(self, path: str, entire: bool = False) -> str:
        """Write the state to one safetensors file, or the weights in PyTorch's format.

        Before the first `fit`, they are those of the model as it was made, which takes a short job.

        Parameters
        ----------
        path : str
            A local path or URL. If it ends in ``.pt`` or ``.pth``, the file gets the model's
            state_dict, as `torch.save` writes it. Any other file gets the estimator's state:
            weights, optimizer, schedule, epoch and step.
        entire : bool
            True writes the whole model as TorchScript, which an estimator without a model loads.

        Returns
        -------
        str
            `path`.
        """
        state, place = self._made_state(), str(path)
        if entire:
            files.save_whole(self._driver_job(state), place)
        elif files.is_torch_path(place):
            files.save_weights(state, place)
        else:
            self._write(state, place)
        return path

    def save_checkpoint(self, checkpoint: str) -> str:
        """Write epoch, step and all state_dicts with `torch.save`, as `ModelCheckpoint` does."""
        files.save_checkpoint(self._made_state(), str(checkpoint))
        return checkpoint

    def load_checkpoint(self, checkpoint: str) -> None:
        """Read what `save_checkpoint`, `save` or a `ModelCheckpoint` wrote."""
        self.load(checkpoint)

    def load(self, path: str, optimizer: bool | None = None) -> None:
        """Read what `save` or `ModelCheckpoint` wrote.

        A state restores everything: `fit` continues as if it were the same session. A file of
        `torch.save` holds a state_dict or more; all of it is read, and none of it is executed. If
        the estimator has no model, a file of TorchScript becomes its model.

        Parameters
        ----------
        path : str
            A local path or URL.
        optimizer : bool, optional
            Whether the next `fit` continues with the file's optimizer and schedule. By default it
            does if they are those of this estimator. Else they start anew with the file's weights,
            and `fit` says why. True requires them: what does not fit is an error. False takes only
            the weights.

        Raises
        ------
        StateError
            If the file cannot be read, is from another framework, or has no optimizer though
            `optimizer` is True.
        """
        is_torchs = torch_kind(str(path)) == TORCH
        if is_torchs and not self._makes_model and self._is_whole(str(path)):
            if self._parts["sync_batch_norm"]:
                raise InvalidInputError(
                    f"{path} is TorchScript, which hides its batch normalisation, so that "
                    "sync_batch_norm=True could not reach it\nLeave sync_batch_norm out, or pass "
                    "from_torch(model=...)"
                )
            self._parts = {**self._parts, "model": files.whole_model(str(path))}
            self._use_creator(packed(self._parts))
            self._insists = False
            return
        self._model.check()
        state = files.load(str(path)) if is_torchs else self._read_state(path)
        # All is checked before the estimator takes any of it.
        if optimizer and not state.meta.get("optimizers"):
            raise StateError(
                f"{path} holds the state of no optimizer\n"
                "Call load(path): it takes the weights, and the optimizer begins anew"
            )
        self._adopt(without_optimizer(state) if optimizer is False else state)
        self._insists = optimizer is True

    def _with_callbacks(self, callbacks: Sequence[Any] | None) -> Self:
        """Return an estimator in the same state whose predictions tell these callbacks."""
        given = packed_callbacks(callbacks)
        if given is None:
            return self
        self._model.check()
        other = copy.copy(self)
        other._use_creator(packed({**self._parts, CALLBACKS: given}))
        if self._state is not None:
            # A callback may return something else than the model.
            meta = {name: one for name, one in self._state.meta.items() if name != "outputs"}
            other._state = State(self._state.tensors, meta)
        return other

    def _is_whole(self, path: str) -> bool:
        """Whether a file is to be the model: the first one is, and any other that can be."""
        return not self._model.creator or files.holds_model(path)
