"""`TrainingOperator`: hooks with which a user's class replaces steps, under Orca's names.

PyTorch is imported only where it is used, because this base of a user's class also loads on a
driver without it.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from zoo.orca.frameworks.torch.training.closures import stepped

if TYPE_CHECKING:
    from zoo.orca.frameworks.torch.training.runner import TrainingRunner


class TrainingOperator:
    """Trains, validates and predicts; override the hooks to change how.

    Each worker makes one for each call. In each step, all workers take part with their rows of the
    global batch. ``optimizer.step()`` always applies the gradient of the mean loss over the rows of
    all workers. A worker that has no rows in a step gets one that does not count.

    If none of `train_epoch`, `train_batch`, `forward_batch` and `validate` is overridden, steps run
    without calling them, which is faster.

    Parameters
    ----------
    runner : object
        Runs the loop.

    Attributes
    ----------
    config : dict
    model : torch.nn.Module
        The first of `models`.
    models, optimizers, schedulers : list
    optimizer, scheduler : object
        The first of each; `scheduler` may be None.
    criterion : callable
        ``criterion(output, target)``, a scalar, with the weights of the batch's rows applied.
    world_rank, world_size : int
    device : torch.device
    epoch, global_step : int
        Counted from 0.
    """

    def __init__(self, runner: "TrainingRunner") -> None:
        self._runner = runner
        self.setup(runner.config)

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare what the hooks need; called once, after models and optimizers are made."""

    def train_epoch(self, iterator: Iterable[Any], info: dict[str, Any]) -> dict[str, Any]:
        """Train one epoch.

        Parameters
        ----------
        iterator : iterable
            This worker's batches, ``(*features, target)``. It must be used up.
        info : dict
            The arguments of `fit`, with ``epoch_idx``.

        Returns
        -------
        dict
            Numbers by name, each a mean over this worker's rows, even if the loss is a sum over
            rows. Orca reduces them over workers.
        """
        means = Means()
        for index, batch in enumerate(iterator):
            batch_info = {**info, "batch_idx": index, "global_step": self.global_step}
            values = dict(self.train_batch(batch, batch_info))
            values.pop("num_samples", None)
            if "train_loss" in values:
                values["train_loss"] = self._runner.of_all(values["train_loss"])
            means.add(values, self._runner.batch.rows)
        return means.result()

    def train_batch(self, batch: tuple[Any, ...], batch_info: dict[str, Any]) -> Mapping[str, Any]:
        """Compute gradients of one batch and update the model.

        Training metrics use the outputs of `forward_batch`. A method that does not call it has
        none.

        Returns
        -------
        dict
            ``train_loss``, as `criterion` returns it, and other results, as means over the batch's
            rows. Numbers or tensors.
        """
        main = self._runner.main_callback
        if main is None:
            loss = stepped(self.optimizer, lambda: self._forward(batch, batch_info))
        else:
            main.on_train_forward(self._runner)
            main.on_iter_backward(self._runner)
            loss = self._runner.loss
        self._runner.loss = loss
        return {"train_loss": loss.detach()}

    def _forward(self, batch: tuple[Any, ...], batch_info: dict[str, Any]) -> Any:
        """Return the loss; metrics use the outputs before the first update."""
        output, target, loss = self.forward_batch(batch, batch_info)
        if self._runner.output is None:
            self._runner.output, self._runner.target = output, target
        return loss

    def forward_batch(
        self, batch: tuple[Any, ...], batch_info: dict[str, Any]
    ) -> tuple[Any, Any, Any]:
        """Return the output, the target and the loss of one batch."""
        *features, target = batch
        with self._runner.autocast():
            output = self._runner.call_model(features)
            loss = self.criterion(output, target)
        if self._runner.output is None:
            # So that a train_batch that calls this has training metrics.
            self._runner.output, self._runner.target = output, target
        return output, target, loss

    def validate(
        self, val_iterator: Iterable[Any], info: dict[str, Any], metrics: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Evaluate one pass.

        Parameters
        ----------
        val_iterator : iterable
            This worker's batches; none if it has no rows.
        info : dict
        metrics : dict of str to torchmetrics.Metric
            Update them; Orca computes their values from the states of all workers.

        Returns
        -------
        dict
            ``val_loss`` and other results, as means over this worker's rows.
        """
        import torch

        means = Means()
        with torch.no_grad():
            for index, batch in enumerate(val_iterator):
                output, target, loss = self.forward_batch(batch, {**info, "batch_idx": index})
                means.add({"val_loss": self._runner.of_all(loss)}, self._runner.batch.rows)
                for metric in metrics.values():
                    metric.update(output, target)
        return means.result()

    def predict(self, pred_iterator: Iterable[Any]) -> list[Any]:
        """Return the outputs of all batches, one after another."""
        import torch

        with torch.no_grad():
            return [self.predict_batch(batch) for batch in pred_iterator]

    def predict_batch(self, batch: tuple[Any, ...]) -> Any:
        """Return the output for a batch of features."""
        return self._runner.call_model(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return what to save with the model: tensors, and values that JSON can hold."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""

    @property
    def config(self) -> dict[str, Any]:
        """The creators' argument."""
        return self._runner.config

    @property
    def models(self) -> list[Any]:
        """All models."""
        return self._runner.models

    @property
    def model(self) -> Any:
        """The first model."""
        return self._runner.models[0]

    @property
    def optimizers(self) -> list[Any]:
        """All optimizers."""
        return self._runner.optimizers

    @property
    def optimizer(self) -> Any:
        """The first optimizer."""
        return self._runner.optimizers[0]

    @property
    def schedulers(self) -> list[Any]:
        """All learning-rate schedules."""
        return self._runner.schedulers

    @property
    def scheduler(self) -> Any:
        """The first schedule, or None."""
        return self._runner.schedulers[0] if self._runner.schedulers else None

    @property
    def criterion(self) -> Any:
        """The loss."""
        return self._runner.criterion

    @property
    def device(self) -> Any:
        """The device of batches and models."""
        return self._runner.device

    @property
    def world_rank(self) -> int:
        """The number of this worker."""
        return self._runner.rank

    @property
    def world_size(self) -> int:
        """Number of workers."""
        return self._runner.world_size

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 0."""
        return self._runner.epoch

    @property
    def global_step(self) -> int:
        """Steps taken so far, over all calls of `fit`."""
        return self._runner.global_step


class Means:
    """Means over rows of values by name; tensors stay on their device until the end."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._rows: dict[str, int] = {}

    def add(self, values: Mapping[str, Any], rows: int) -> None:
        """Add means over the given number of rows; without rows they do not count."""
        for name, value in values.items():
            value = value.detach().double() if hasattr(value, "detach") else float(value)
            if rows:
                self._sums[name] = self._sums.get(name, 0.0) + value * rows
            else:
                self._sums.setdefault(name, 0.0)
            self._rows[name] = self._rows.get(name, 0) + rows

    def result(self) -> dict[str, float]:
        """Return the means; 0 if there were no rows."""
        return {
            name: float(total) / self._rows[name] if self._rows[name] else 0.0
            for name, total in self._sums.items()
        }


def overrides(kind: type, *names: str) -> bool:
    """Whether a class overrides one of the base's hooks."""
    return any(getattr(kind, name) is not getattr(TrainingOperator, name) for name in names)
