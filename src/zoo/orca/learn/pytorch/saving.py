"""What an estimator of PyTorch models saves, loads and returns."""

from typing import Any

from zoo.orca.errors import StateError
from zoo.orca.learn.estimator import BaseEstimator
from zoo.orca.learn.pytorch import files
from zoo.orca.wire.packing import State


class TorchFiles(BaseEstimator):
    """Adds PyTorch's modules and files to the base estimator."""

    #: Whether the next `fit` must continue with the optimizer that was loaded.
    _insists = False

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

    def save(self, path: str) -> str:
        """Write the state to one safetensors file, or the weights in PyTorch's format.

        Parameters
        ----------
        path : str
            A local path or URL. If it ends in ``.pt`` or ``.pth``, the file gets the model's
            state_dict, as `torch.save` writes it. Any other file gets the estimator's state:
            weights, optimizer, schedule, epoch and step.

        Returns
        -------
        str
            `path`.

        Raises
        ------
        StateError
            If there is nothing to save before the first `fit` or `load`.
        """
        if not files.is_torch_path(str(path)):
            return super().save(path)
        files.save_weights(self._required_state("save"), str(path))
        return path

    def load(self, path: str, optimizer: bool | None = None) -> None:
        """Read what `save` or `ModelCheckpoint` wrote.

        A state restores everything: `fit` continues as if it were the same session. A ``.pt`` file
        holds a state_dict or more; all of it is read, and none of it is executed.

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
        is_torchs = files.is_torch_path(str(path))
        state = files.load(str(path)) if is_torchs else self._read_state(path)
        # All is checked before the estimator takes any of it.
        if optimizer and not state.meta.get("optimizers"):
            raise StateError(
                f"{path} holds the state of no optimizer\n"
                "Call load(path): it takes the weights, and the optimizer begins anew"
            )
        self._adopt(_without_optimizer(state) if optimizer is False else state)
        self._insists = optimizer is True


def _without_optimizer(state: State) -> State:
    """Return a state without its optimizers and schedules."""
    tensors = {
        name: value
        for name, value in state.tensors.items()
        if not name.startswith(("optimizer/", "scheduler/"))
    }
    return State(tensors, {**state.meta, "optimizers": [], "schedulers": []})
