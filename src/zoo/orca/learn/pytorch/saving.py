"""What an estimator of PyTorch models saves, loads and hands out."""

from typing import Any

from zoo.orca.errors import StateError
from zoo.orca.learn.estimator import BaseEstimator
from zoo.orca.learn.pytorch import files
from zoo.orca.wire.packing import State


class TorchFiles(BaseEstimator):
    """Adds PyTorch's modules and files to the one estimator."""

    #: Whether the next `fit` must go on with the optimizer that was loaded.
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
            A local path or URL. One that ends in ``.pt`` or ``.pth`` gets the model's state_dict,
            as `torch.save` writes it; any other the estimator's state: weights, optimizer,
            schedule, epoch and step.

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

        A state restores everything, so that `fit` goes on as if it were the same session. Of a
        ``.pt`` file what is in it is read, a state_dict or more; nothing in it is executed.

        Parameters
        ----------
        path : str
            A local path or URL.
        optimizer : bool, optional
            Whether the next `fit` goes on with the optimizer of the file, and with its schedule.
            By default it does if they are those of this estimator, else they begin anew with the
            weights of the file, and `fit` says why. True insists: what does not fit is an error.
            False takes the weights alone.

        Raises
        ------
        StateError
            If the file cannot be read, is of another framework, or has no optimizer and that was
            insisted on.
        """
        if files.is_torch_path(str(path)):
            self._adopt(files.load(str(path)))
        else:
            super().load(path)
        self._insists = optimizer is True
        state = self._required_state("use")
        if optimizer is False:
            self._state = _without_optimizer(state)
        elif optimizer and not state.meta.get("optimizers"):
            raise StateError(
                f"{path} holds the state of no optimizer\n"
                "Call load(path): it takes the weights, and the optimizer begins anew"
            )


def _without_optimizer(state: State) -> State:
    """Return a state without what an optimizer and its schedules need."""
    tensors = {
        name: value
        for name, value in state.tensors.items()
        if not name.startswith(("optimizer/", "scheduler/"))
    }
    return State(tensors, {**state.meta, "optimizers": [], "schedulers": []})
