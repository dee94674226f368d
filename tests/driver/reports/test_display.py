"""What is shown: by each display on its own, and by a whole `fit`."""

import io
import time
from dataclasses import replace

import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.reports import display as module
from zoo.orca.driver.reports.display import Bars, Lines, Silent, display_for, epoch_line
from zoo.orca.wire.messages.progress import (
    EpochBegan,
    EpochEnded,
    LogLine,
    Phase,
    Reported,
    StepTaken,
    Warned,
)

pytestmark = pytest.mark.timeout(60)

EPOCH = EpochBegan(epoch=0, epochs=2, steps=100)
STEP = StepTaken(steps=5)
EPOCH_END = EpochEnded(
    steps=100,
    rows=12800,
    seconds=2.0,
    logs={"loss": 0.5, "accuracy": 0.25, "lr": 1e-5},
)


def test_the_line_of_an_epoch_is_kerass() -> None:
    assert epoch_line(EPOCH_END) == (
        "100/100 - 2s - 20.0ms/step - 6,400 rows/s - loss: 0.5000 - accuracy: 0.2500 - lr: 1e-05"
    )


def test_lines_tell_each_phase_once(capsys: pytest.CaptureFixture[str]) -> None:
    display = Lines("fit")
    for _ in range(2):
        display.show(Phase(text="moving rows"))
    display.show(EPOCH)
    display.show(STEP)
    display.show(EPOCH_END)
    display.show(Warned(text="loss is NaN"))
    display.show(LogLine(text="hello"), rank=1)
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "fit: moving rows",
        "Epoch 1/2",
        epoch_line(EPOCH_END),
        "warning: loss is NaN",
        "[rank 1] hello",
    ]


def test_a_name_is_at_the_head_of_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    display = display_for(1, "fit", "trial 3")
    display.show(Phase(text="moving rows"))
    display.show(EPOCH)
    display.show(EPOCH_END)
    display.show(Warned(text="loss is NaN"))
    display.show(LogLine(text="hello"), rank=1)
    assert capsys.readouterr().out.splitlines() == [
        "trial 3: moving rows",
        "trial 3: Epoch 1/2",
        f"trial 3: {epoch_line(EPOCH_END)}",
        "trial 3: warning: loss is NaN",
        "trial 3: [rank 1] hello",
    ]


def test_bars_have_the_name_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.tqdm, "monitor_interval", 0)
    display = Bars("fit", "trial 3")
    display.show(EPOCH)
    time.sleep(0.15)
    display.show(replace(STEP, steps=40, rows=1, seconds=1.0))
    display.show(EPOCH_END)
    display.close()
    out, err = capsys.readouterr()
    assert "trial 3: 40/100" in err
    assert out.splitlines() == ["trial 3: Epoch 1/2", f"trial 3: {epoch_line(EPOCH_END)}"]


def test_bars_show_phase_steps_and_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.tqdm, "monitor_interval", 0)
    display = Bars("fit")
    display.show(Phase(text="importing TensorFlow"))
    display.show(EPOCH)
    for step in (40, 100):
        time.sleep(0.15)  # tqdm draws at most every 0.1 s
        logs = {"loss": 0.75}
        display.show(replace(STEP, steps=step, rows=128 * step, seconds=1.0, logs=logs))
    display.show(EPOCH_END)
    display.close()
    out, err = capsys.readouterr()
    assert "fit: importing TensorFlow" in err
    assert "5,120 rows/s - loss: 0.7500" in err
    assert "40/100" in err
    assert out.splitlines() == ["Epoch 1/2", epoch_line(EPOCH_END)]


def test_lines_of_a_loop_come_now_and_then_and_the_last_one_always(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    display = Lines("run", "mine")
    for step in range(1, 4):
        display.show(Reported(step=step, steps=4, logs={"loss": 1 / step}))
    display.show(Reported(step=4, steps=4, is_last=True))
    assert capsys.readouterr().out.splitlines() == ["mine: 1/4 - loss: 1.0000", "mine: 4/4"]
    monkeypatch.setattr(module, "_LINE_SECONDS", 0.0)
    for step in range(1, 4):
        display.show(Reported(step=step))
    assert capsys.readouterr().out.splitlines() == [f"mine: step {step}" for step in (1, 2, 3)]


@pytest.mark.parametrize("steps", [0, 50])
def test_bars_show_the_steps_of_a_loop(
    steps: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.tqdm, "monitor_interval", 0)
    display = Bars("run")
    for step in (1, 40):
        time.sleep(0.15)  # tqdm draws at most every 0.1 s
        display.show(Reported(step=step, steps=steps, logs={"loss": 0.5}))
    display.show(Reported(step=41, steps=steps, is_last=True))
    display.close()
    out, err = capsys.readouterr()
    assert ("40/50" if steps else "40 steps") in err and "loss: 0.5000" in err
    assert out.splitlines() == ["41/50" if steps else "step 41"]


def test_which_display(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(display_for(0, "fit"), Silent)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert isinstance(display_for(1, "fit"), Lines)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert isinstance(display_for(1, "fit"), Bars)


def test_a_fit_shows_its_phases_epochs_and_prints(
    spark: SparkSession, capfd: pytest.CaptureFixture[str]
) -> None:
    def on_step(rank: int, step: int) -> None:
        if step == 0:
            print("printed by rank", rank)

    rows = spark.range(20).selectExpr("cast(id as float) x", "cast(id as float) y")
    FakeEstimator.of(linear(rate=1e-4, on_step=on_step), 2).fit(rows, epochs=2, verbose=1)
    shown = capfd.readouterr().out
    for expected in (
        "fit: moving rows",
        "Epoch 1/2",
        "Epoch 2/2",
        "loss: ",
        "[rank 0] printed by rank 0",
        "[rank 1] printed by rank 1",
    ):
        assert expected in shown
    FakeEstimator.of(linear(rate=1e-4), 2).fit(rows, verbose=1, name="trial 3")
    shown = capfd.readouterr().out.splitlines()
    assert shown and all(line.startswith("trial 3: ") for line in shown)
    FakeEstimator.of(linear(rate=1e-4, on_step=on_step), 2).fit(rows, verbose=0)
    assert capfd.readouterr().out == ""
