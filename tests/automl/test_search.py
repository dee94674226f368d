"""The trials of a search, over fits that are made up: what is drawn, told, kept and repeated."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from zoo.orca.automl import hp
from zoo.orca.automl import study as studies
from zoo.orca.automl.auto_estimator import _sampler
from zoo.orca.automl.goal import Goal
from zoo.orca.automl.kept import KeptModel
from zoo.orca.automl.search import Search, Trials
from zoo.orca.automl.space import grid_of
from zoo.orca.driver.reports.epochs import EpochEnd
from zoo.orca.errors import ContextError, InvalidInputError, WorkerError

pytestmark = pytest.mark.timeout(60)

SPACE = {"x": hp.uniform(-1, 1), "n": hp.randint(1, 5), "way": hp.choice(["a", "b"])}


class Model:
    """An estimator whose loss is a function of its configuration."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def save(self, path: str) -> str:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(self.config))
        return path


class Jobs:
    """Functions of other threads, and how often their jobs were cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def call(self, call: Callable[[], Any]) -> Callable[[], Any]:
        return call

    def cancel(self) -> None:
        self.cancelled.set()


class Made:
    """A search over made-up fits."""

    def __init__(self, **fields: Any) -> None:
        self.jobs, self.configs, self.numbers = Jobs(), list[dict[str, Any]](), list[int]()
        self.space = fields.pop("space", SPACE)
        self.alg = fields.pop("alg", "random")
        self.loss: Callable[[dict[str, Any], int], float] = fields.pop(
            "loss", lambda config, epoch: (config["x"] - 0.3) ** 2 / epoch
        )
        self.epochs = fields.pop("epochs", 3)
        self.goal = fields.pop("goal", Goal(mode="min"))
        self.scheduler = fields.pop("scheduler", "fifo")
        self.storage, self.samples = fields.pop("storage", None), fields.pop("samples", 6)
        self.directory = fields.pop("directory", "")
        self.fields = fields

    def fit(
        self,
        model: Model,
        number: int,
        config: dict[str, Any],
        on_epoch: Callable[[EpochEnd], bool],
        may_end: bool,
    ) -> None:
        self.configs.append(config)
        self.numbers.append(number)
        for epoch in range(1, self.epochs + 1):
            if on_epoch(EpochEnd(epoch, {"loss": self.loss(config, epoch)})) and may_end:
                return

    def run(self) -> optuna.Study:
        pruner = studies.pruner_of(self.scheduler, None)
        self.kept = KeptModel(self.directory, Model)
        self.kept.stays = bool(self.directory)

        def sampler(number: int) -> Any:
            return _sampler(self.alg, None, 5, number)

        self.study = studies.open_study(self.storage, "made", self.goal.mode, sampler(0), pruner)
        studies.retry_left(self.study)
        may_end = self.scheduler != "fifo" or self.goal.threshold is not None
        search = Search(
            study=self.study,
            space=self.space,
            trials=Trials(make=Model, fit=self.fit, goal=self.goal, may_end=may_end),
            sampler=sampler,
            jobs=self.jobs,  # type: ignore[arg-type]
            kept=self.kept,
            **{"at_once": 1, "is_shown": False, **self.fields},
        )
        search.run(studies.plan(self.study, grid_of(self.space), self.samples))
        return self.study


@pytest.mark.parametrize("alg", ["random", "tpe"])
def test_a_search_is_repeated_by_its_seed(alg: str) -> None:
    first, second = Made(alg=alg, samples=14), Made(alg=alg, samples=14)
    assert first.run().best_value == second.run().best_value
    assert first.configs == second.configs
    assert len({config["x"] for config in first.configs}) == 14


@pytest.mark.parametrize(("alg", "samples"), [("random", 4), ("tpe", 12)])
def test_a_search_that_goes_on_from_its_storage_is_the_unbroken_one(
    alg: str, samples: int, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    unbroken = Made(alg=alg, samples=samples)
    unbroken.run()

    def killed(config: dict[str, Any], epoch: int) -> float:
        if len(made[0].configs) == samples - 1:
            raise KeyboardInterrupt
        return (config["x"] - 0.3) ** 2 / epoch

    made = [
        Made(alg=alg, samples=samples, storage=storage, loss=killed, directory=str(tmp_path / "m"))
    ]
    with pytest.raises(KeyboardInterrupt):
        made[0].run()
    rest = Made(alg=alg, samples=samples, storage=storage, directory=str(tmp_path / "m"))
    study = rest.run()
    assert made[0].configs[: samples - 2] + rest.configs == unbroken.configs
    assert study.best_value == unbroken.study.best_value
    best = study.best_trial.number
    assert [path.name for path in (tmp_path / "m").iterdir()] == [f"trial-{best}.safetensors"]
    again = Made(alg=alg, samples=samples, storage=storage)
    assert again.run().best_trial.number == best and not again.configs


def test_what_a_program_that_was_killed_left_running_is_tried_again(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    unbroken = Made(samples=3)
    unbroken.run()
    broken = Made(samples=1, storage=storage)
    broken.run()
    broken.study.sampler = _sampler("random", None, 5, 1)
    left = broken.study.ask()
    from zoo.orca.automl.space import draw

    draw(SPACE, left)
    left.set_user_attr(studies.OWNER, json.dumps({**json.loads(left_by(broken)), "began": "0"}))
    rest = Made(samples=3, storage=storage)
    rest.run()
    assert broken.configs + rest.configs == unbroken.configs
    states = [trial.state.name for trial in rest.study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def left_by(made: Made) -> str:
    """The process that ran a search's first trial, which is this one."""
    owner: str = made.study.trials[0].user_attrs[studies.OWNER]
    return owner


def test_a_trial_that_another_process_runs_is_left_to_it(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    first = Made(samples=1, storage=storage)
    first.run()
    for owner in (left_by(first), json.dumps({"host": "elsewhere", "pid": 1, "began": "1"})):
        first.study.ask().set_user_attr(studies.OWNER, owner)
    second = Made(samples=4, storage=storage)
    second.run()
    assert len(second.configs) == 1
    assert [one.state.name for one in second.study.trials[1:3]] == ["RUNNING", "RUNNING"]


def test_a_stored_search_has_one_space(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    Made(space={"x": hp.uniform(0, 1)}, storage=storage, samples=1).run()
    with pytest.raises(InvalidInputError, match=r"search_space\['x'\] does not fit .*\n.*name"):
        Made(space={"x": hp.choice([1, 2])}, storage=storage, samples=2).run()


@pytest.mark.parametrize("storage", ["foo://search", "sqlite:////nowhere/at/all.db"])
def test_a_storage_that_cannot_be_opened_is_named(storage: str) -> None:
    with pytest.raises(InvalidInputError, match="storage='.* cannot be opened: .*\nWrite storage="):
        Made(storage=storage, samples=1).run()


def test_each_point_of_a_grid_is_tried_as_often_as_asked_and_not_again(tmp_path: Path) -> None:
    space = {"a": hp.grid_search([1, 2]), "b": hp.grid_search([[3], [4]]), "x": hp.randn()}
    storage = f"sqlite:///{tmp_path}/search.db"
    Made(space=space, storage=storage, samples=1).run()
    made = Made(space=space, storage=storage, samples=2)
    made.run()
    points = sorted((config["a"], config["b"]) for config in made.configs)
    assert points == [(1, [3]), (1, [4]), (2, [3]), (2, [4])]
    assert len({config["x"] for config in made.configs}) == 4


def test_a_trial_that_fails_is_one_trial_and_its_error_is_kept_and_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def loss(config: dict[str, Any], epoch: int) -> float:
        if config["way"] == "a":
            raise WorkerError("disk on fire\nBuy another one")
        return float("nan") if config["n"] == 5 else config["x"]

    made = Made(loss=loss, samples=12)
    study = made.run()
    failed = {t.number: t.user_attrs[studies.ERROR] for t in study.trials if t.state.name == "FAIL"}
    for number, config in enumerate(made.configs):
        if config["way"] == "a":
            assert failed.pop(number) == "WorkerError: disk on fire\nBuy another one"
            assert f"trial {number} failed: WorkerError: disk on fire" in caplog.text
        elif config["n"] == 5:
            assert failed.pop(number) == "FloatingPointError: loss is not a number"
    assert not failed
    assert study.best_value == min(c["x"] for c in made.configs if c["way"] == "b" and c["n"] < 5)


def test_if_every_trial_fails_the_search_does() -> None:
    def loss(config: dict[str, Any], epoch: int) -> float:
        raise WorkerError(f"x is {config['n']}")

    made = Made(loss=loss, samples=3)
    with pytest.raises(WorkerError) as caught:
        made.run()
    assert str(caught.value) == f"x is {made.configs[-1]['n']}"
    assert "every trial of the search has failed" in caught.value.__notes__[0]


@pytest.mark.parametrize("error", [ContextError("the session has ended"), InvalidInputError])
def test_what_would_fail_every_trial_ends_the_search_at_once(error: Any) -> None:
    def loss(config: dict[str, Any], epoch: int) -> float:
        raise error

    goal = Goal(mode="min")
    if error is InvalidInputError:
        goal, loss = Goal(metric="auc", mode="max"), lambda config, epoch: 1.0  # noqa: E731
    made = Made(loss=loss, goal=goal)
    with pytest.raises(error if isinstance(error, type) else ContextError):
        made.run()
    assert len(made.configs) == 1


def test_bad_trials_are_pruned_and_never_the_best() -> None:
    made = Made(
        loss=lambda config, epoch: 1.0 if config["x"] < 0 else 0.5 / epoch,
        scheduler="median",
        samples=20,
        epochs=4,
    )
    study = made.run()
    pruned = [t for t in study.trials if t.state.name == "PRUNED"]
    assert pruned and all(t.params["x"] < 0 and len(t.intermediate_values) < 4 for t in pruned)
    assert study.best_trial.params["x"] > 0
    assert all(len(t.intermediate_values) == 4 for t in study.trials if t.params["x"] > 0)


def test_a_trial_ends_once_its_metric_is_good_enough() -> None:
    made = Made(loss=lambda config, epoch: 1 / epoch, goal=Goal(mode="min", threshold=0.5))
    study = made.run()
    assert [trial.value for trial in study.trials] == [0.5] * 6
    assert made.kept._number == 0  # the first of equal ones stays the best


def test_as_many_trials_run_beside_each_other_as_there_is_room_for() -> None:
    together, lock, most = [0], threading.Lock(), [0]

    def loss(config: dict[str, Any], epoch: int) -> float:
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.02)
        with lock:
            together[0] -= 1
        return float(config["x"])

    made = Made(loss=loss, at_once=3, samples=9)
    study = made.run()
    assert most[0] == 3 and len(study.trials) == 9
    assert made.kept._config is not None
    assert made.kept._config["x"] == study.best_params["x"]


def test_an_interrupt_ends_what_runs_and_leaves_it_to_the_next_search(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"

    def loss(config: dict[str, Any], epoch: int) -> float:
        made.jobs.cancelled.wait(30)
        raise WorkerError("the job was cancelled")

    def interrupted(config: dict[str, Any], epoch: int) -> float:
        if len(made.configs) == 2:
            raise KeyboardInterrupt
        return loss(config, epoch)

    made = Made(loss=interrupted, at_once=2, samples=4, storage=storage)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert made.jobs.cancelled.is_set()
    assert [trial.state.name for trial in made.study.trials[:2]] == ["FAIL", "FAIL"]
    rest = Made(samples=4, storage=storage)
    assert len([t for t in rest.run().trials if t.state.name == "COMPLETE"]) == 4
    assert sorted(config["x"] for config in rest.configs[:2]) == sorted(
        config["x"] for config in made.configs[:2]
    )


def test_a_search_without_end_ends_with_its_time() -> None:
    made = Made(samples=-1, timeout=0.3)
    study = made.run()
    assert study.trials and all(trial.state.name == "COMPLETE" for trial in study.trials)
