"""Where a loop's batches come from: spooled rows in a plan's order, or a user's loader."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from zoo.orca.errors import DataError
from zoo.orca.frameworks.common.cursor import first_step
from zoo.orca.frameworks.keras.columns.culprit import broken_row
from zoo.orca.frameworks.keras.columns.labels import Labels
from zoo.orca.frameworks.keras.feed import rows_or_one
from zoo.orca.frameworks.keras.loaders.layout import KerasParts, LoaderLayout
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.outputs import outputs_of
from zoo.orca.frameworks.keras.protocols import Feed
from zoo.orca.frameworks.keras.training.position import Part
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.live import ENDLESS
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.plugin import Created, Data, Rows, World
from zoo.orca.worker.rows.transform import transform_problem

ClassWeight = Mapping[int, float] | None


class BatchSource(ABC):
    """The batches of one data set; made on all ranks.

    Attributes
    ----------
    feed : Feed
    plan : Plan
    is_weighted : bool
        Whether rows have weights.
    """

    feed: Feed
    plan: Plan
    is_weighted: bool

    def __init__(self, world: World) -> None:
        self._rank = world.rank

    @abstractmethod
    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return the model's outputs; build a model that is built by its first batch."""

    @abstractmethod
    def check(self, validation: Data | None) -> None:
        """Refuse labels that the losses cannot take; called on all ranks."""

    @abstractmethod
    def another(self, data: Data) -> "BatchSource":
        """Return the source of validation data; called on all ranks."""

    def part(self, steps: int | None, *, within_pass: bool = False) -> Part:
        """Return the steps of an epoch, or of a validation, which ends with the pass."""
        count = steps or self.plan.steps_per_pass
        if within_pass:
            count = min(count, self.plan.steps_per_pass)
        return Part(plan=self.plan, rank=self._rank, count=count)

    @abstractmethod
    def go_over_passes(self, steps: int | None) -> None:
        """Let an epoch have so many steps, over all passes; None: it is a pass."""

    def steps_per_epoch(self, steps: int) -> int | None:
        """Return what Keras must be told of the steps that the feed has; None for all."""
        return None

    @property
    @abstractmethod
    def problem(self) -> Exception | None:
        """What went wrong in Python that the backend called."""

    def broken(self, error: Exception) -> DataError | None:
        """Describe an error that one of the rows caused; None if no such row is found."""
        return None

    @abstractmethod
    def close(self) -> None:
        """End the processes of a loader."""


class RowsSource(BatchSource):
    """Spooled rows."""

    def __init__(
        self, made: KerasModel, rows: Rows, world: World, class_weight: ClassWeight
    ) -> None:
        super().__init__(world)
        self._made, self._rows, self._world = made, rows, world
        self._class_weight = class_weight
        self.plan = rows.plan
        spec = rows.spec
        self.is_weighted = bool(spec.weight or spec.output_weights or class_weight)
        self._layout = made.layout(spec)
        if (output := self._layout.output_of_lone_label) is not None:
            made.keras.give_label(made.model, output)
        self.feed = made.backend.feed(
            rows.plan,
            world.rank,
            rows.columns,
            lambda columns: self._layout.arrays(columns, class_weight),
            self._layout.pack,
            counted=world.size > 1,
        )

    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return the model's outputs."""
        some = {name: rows_or_one(values[:2]) for name, values in self._rows.columns.items()}
        return outputs_of(self._made, self._layout, self._layout.feature_arrays(some))

    def check(self, validation: Data | None) -> None:
        """Refuse labels that the losses cannot take."""
        labels = Labels(self._made, self._layout)
        labels.check_rows()
        sets = {"": self._rows}
        if isinstance(validation, Rows):
            sets[" of validation_data"] = validation
        labels.check(sets, self._world)
        if self._class_weight:
            labels.check_weights(self._class_weight, self._rows, self._world)

    def another(self, data: Data) -> BatchSource:
        """Return the source of validation data, in which classes have no weights."""
        if not isinstance(data, Rows):
            raise TypeError("rows are validated with rows")
        return RowsSource(self._made, data, self._world, None)

    @property
    def problem(self) -> Exception | None:
        """What went wrong in the user's transform of the rows."""
        return transform_problem(self._rows.columns)

    def go_over_passes(self, steps: int | None) -> None:
        """No-op: a plan of rows has no end."""

    def close(self) -> None:
        """No-op: rows are files."""

    def broken(self, error: Exception) -> DataError | None:
        """Describe an error that one of the rows caused."""
        rows = self._rows
        return broken_row(error, self._made, self._layout, rows.spec, rows.columns)


class LoaderSource(BatchSource):
    """A user's loader."""

    def __init__(
        self,
        made: KerasModel,
        created: Created,
        world: World,
        class_weight: ClassWeight,
        state: State | None,
    ) -> None:
        super().__init__(world)
        self._made, self._world = made, world
        losses = [one for one in made.keras.loss_objects(made.model) if one is not None]
        needs = bool(losses) and not made.keras.has_own_step(made.model)
        parts = KerasParts(created, needs_labels=needs, class_weight=class_weight)
        feed = self.feed = self._feed = made.backend.loader_feed(created, world.collective, parts)
        self.plan = feed.stream.plan
        if created.role == "train":
            first_step(state, feed.stream.plan)
        self._layout = LoaderLayout(feed.inputs())
        self.is_weighted = "w" in feed.stream.sample()

    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return the model's outputs."""
        arrays = self._layout.feature_arrays(self._feed.inputs())
        return outputs_of(self._made, self._layout, arrays)

    def check(self, validation: Data | None) -> None:
        """No-op: labels are not known beforehand, and are as plain Keras takes them."""

    def another(self, data: Data) -> BatchSource:
        """Return the source of validation data."""
        if not isinstance(data, Created):
            raise TypeError("a creator is validated with a creator")
        return LoaderSource(self._made, data, self._world, None, None)

    def part(self, steps: int | None, *, within_pass: bool = False) -> Part:
        """Return the steps of an epoch; if none are given, it ends with the loaders."""
        return Part(plan=self.plan, rank=self._rank, count=steps or ENDLESS)

    def go_over_passes(self, steps: int | None) -> None:
        """Let an epoch have so many steps, over all passes; None: it is a pass."""
        self._feed.over_passes = steps is not None

    def steps_per_epoch(self, steps: int) -> int | None:
        """Return the steps of an epoch, where a feed of all passes has no end."""
        return steps if self._feed.over_passes else None

    @property
    def problem(self) -> Exception | None:
        """What went wrong in Python that the backend called."""
        return self._feed.problem

    def close(self) -> None:
        """End the loader's processes."""
        self._feed.close()


def source_of(
    made: KerasModel, data: Data, world: World, class_weight: ClassWeight, state: State | None
) -> BatchSource:
    """Return the source of a job's data; called on all ranks."""
    if isinstance(data, Rows):
        return RowsSource(made, data, world, class_weight)
    return LoaderSource(made, data, world, class_weight, state)
