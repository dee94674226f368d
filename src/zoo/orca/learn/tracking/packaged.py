"""An estimator taken apart, and put together again in another program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, cast

from zoo.orca.errors import StateError
from zoo.orca.learn.options import EngineOptions
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import ModelSpec
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State


@dataclass(frozen=True, kw_only=True)
class Package:
    """What there is to an estimator.

    Parameters
    ----------
    model : ModelSpec
    options : EngineOptions
        Without those that hold in one program alone.
    state : State
        With the columns that the model has seen, and its outputs.
    """

    model: ModelSpec
    options: EngineOptions
    state: State


class EstimatorParts(Protocol):
    """What the base estimator is of: a package is made of it, and a table tells it."""

    _model: ModelSpec
    _options: EngineOptions
    _state: State | None

    @property
    def _outputs(self) -> tuple[OutputSpec, ...]: ...

    @property
    def _seen_columns(self) -> FeatureSpec | None: ...


class Packaged:
    """Adds packing to the base estimator."""

    def _package(self: EstimatorParts, what: str) -> Package:
        """Return all that another program needs to predict, and to go on.

        Raises
        ------
        StateError
            If nothing tells the columns of rows, or what the model makes of them; names `what`.
        """
        seen = self._seen_columns
        if self._state is None or not self._outputs:
            raise StateError(
                f"{what}: the model has seen no rows yet, so its columns and outputs are unknown\n"
                "Call fit, or predict(df, feature_cols=...), first"
            )
        if seen is None or not seen.features:
            raise StateError(
                f"{what}: the model was trained on a creator's batches, which have no columns\n"
                "Train it on a DataFrame, or write its state with save"
            )
        # A directory of checkpoints is of this program's cluster.
        options = replace(self._options, model_dir=None, min_workers=None)
        return Package(model=self._model, options=options, state=self._state)

    @classmethod
    def _of_package(cls, package: Package, **options: Any) -> Self:
        """Return an estimator like the one that was packed, with other options if any."""
        made: Any = cls
        found = made(package.model, replace(package.options, **options))
        found._adopt(package.state)
        return cast("Self", found)
