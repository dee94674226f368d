"""Where Keras's loop stands among the plan's steps."""

from dataclasses import dataclass, field

from zoo.orca.wire.plans.live import ENDLESS, LivePlan
from zoo.orca.wire.plans.plan import Plan, global_rows


@dataclass(kw_only=True)
class Part:
    """The steps of training or validation, as callbacks need them.

    Attributes
    ----------
    plan : Plan
    rank : int
    start : int
        The current epoch's first step, numbered over all passes.
    count : int
        The number of steps of an epoch.
    """

    plan: Plan
    rank: int
    count: int
    start: int = 0

    def share(self, step: int) -> float:
        """Return this rank's share of the rows of an epoch's step."""
        place = self.start + step
        if isinstance(self.plan, LivePlan) and not 0 <= step < self.taken:
            return 0.0  # not known yet, or the loaders had ended
        return self.plan.share(self.rank, place) / int(global_rows(self.plan, place, 1)[0])

    @property
    def taken(self) -> int:
        """The steps of the epoch that its plan knows of."""
        plan = self.plan
        return plan.taken(self.start) if isinstance(plan, LivePlan) else self.count

    def is_idle(self, step: int) -> bool | None:
        """Whether this rank has no rows in an epoch's step; None if that is not known yet."""
        if isinstance(self.plan, LivePlan) and step >= self.taken:
            return None
        return self.share(step) == 0


@dataclass(kw_only=True)
class LoopPosition:
    """Where Keras's loop stands.

    Attributes
    ----------
    train, test : Part or None
    first : int
        The first training step, numbered over all passes.
    watched : dict of str to bool
        For "train" and "test", whether a hook tells when a step ends.
    phase : str
        "train" or "test" while steps of this job run, "" between them.
    step : int
        The epoch's last step that began, or that ended if a hook tells.
    taken : int
        The training steps of all finished epochs, and those before a part of an epoch.
    ended : int
        The number of finished epochs.
    begun : int
        The steps of the current epoch that were done before its steps here.
    """

    train: Part | None
    test: Part | None
    first: int = 0
    watched: dict[str, bool] = field(default_factory=dict)
    phase: str = ""
    step: int = 0
    taken: int = 0
    ended: int = 0
    begun: int = 0

    @property
    def part(self) -> Part:
        """The steps of the current phase."""
        part = self.test if self.phase == "test" else self.train
        if part is None:
            raise RuntimeError(f"this job has no steps to {self.phase}")
        return part

    @property
    def epoch_steps(self) -> int:
        """The number of steps in the finished epoch; fewer if a callback stopped it."""
        if isinstance(self.part.plan, LivePlan):
            return self.part.taken
        whole = self.part.count
        return min(self.step + 1, whole) if self.watched.get(self.phase or "train") else whole

    def begin(self, phase: str) -> None:
        """Begin an epoch's steps, for training or testing."""
        self.phase, self.step = phase, 0
        plan = self.part.plan
        if phase == "train":
            self.part.start = self.first + self.taken
        elif isinstance(plan, LivePlan):
            plan.begin(0, 0, 0)

    def end(self) -> float:
        """End an epoch's steps; return this rank's share of the last step's rows."""
        share, plan = self.part.share(self.epoch_steps - 1), self.part.plan
        if self.phase == "train":
            self.taken += self.epoch_steps
            if isinstance(plan, LivePlan) and self.part.count >= ENDLESS:
                plan.finish_pass()
        self.phase = ""
        return share

    def end_epoch(self) -> None:
        """Count an epoch whose training steps have ended."""
        self.ended += 1
        self.begun = 0

    def end_training(self) -> None:
        """End an epoch's training steps, unless its logs were already made global."""
        if self.phase == "train":
            self.end()
