"""The table and the curves of what `fit` returns."""

import sys

import matplotlib
import pytest

from zoo.orca.errors import InvalidInputError, MissingPackageError
from zoo.orca.learn.pytorch.stats import EpochStats
from zoo.orca.learn.results import TrainingStats
from zoo.orca.learn.tracking.shown import epochs_of_values

HISTORY = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.5, 2.5, 1.5], "mae": [0.3, 0.2, 0.1]}


@pytest.fixture(autouse=True)
def _no_window():
    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def drawn(figure) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The points of each line of each picture, by their names."""
    return {
        axes.get_title(): {
            line.get_label(): [tuple(map(float, point)) for point in line.get_xydata()]
            for line in axes.get_lines()
        }
        for axes in figure.axes
    }


@pytest.mark.parametrize("as_torch", [False, True])
def test_plot_draws_every_value_at_its_epoch(as_torch):
    rows = {"num_samples": [8.0, 8.0, 8.0]} if as_torch else {}
    stats = TrainingStats({**HISTORY, **rows}, first_epoch=4)
    found = drawn((EpochStats(stats, 4) if as_torch else stats).plot())
    assert found == {
        "loss": {
            "training": [(5, 3.0), (6, 2.0), (7, 1.0)],
            "validation": [(5, 3.5), (6, 2.5), (7, 1.5)],
        },
        "mae": {"training": [(5, 0.3), (6, 0.2), (7, 0.1)]},
    }


def test_plot_draws_the_curves_that_are_named():
    assert list(drawn(TrainingStats(HISTORY).plot(["mae"]))) == ["mae"]
    turned = dict(reversed(HISTORY.items()))
    assert list(drawn(TrainingStats(turned).plot())) == ["loss", "mae"]
    assert list(drawn(TrainingStats(HISTORY).plot(["val_loss"]))) == ["loss"]
    with pytest.raises(InvalidInputError, match=r"'acc'\nName some of \['loss', 'mae'\]"):
        TrainingStats(HISTORY).plot(["acc"])
    with pytest.raises(InvalidInputError, match="no curves"):
        TrainingStats({}).plot()


def test_validation_of_some_epochs_is_drawn_at_these():
    history = {"loss": [5.0, 4.0, 3.0, 2.0, 1.0], "val_loss": [0.4, 0.2]}
    stats = TrainingStats(history, first_epoch=1, validation_freq=3)
    assert drawn(stats.plot())["loss"]["validation"] == [(3, 0.4), (6, 0.2)]
    listed = TrainingStats(history, validation_freq=(1, 4, 9))
    assert drawn(listed.plot())["loss"]["validation"] == [(1, 0.4), (4, 0.2)]


@pytest.mark.parametrize("first", range(5))
@pytest.mark.parametrize("frequency", [1, 2, 3, (2, 3), [7, 1, 4]])
def test_epochs_of_values_are_those_after_which_keras_validates(first, frequency):
    """Keras counts from 1, whatever the first epoch of the call."""

    def validates(epoch: int) -> bool:
        number = epoch + 1
        if isinstance(frequency, int):
            return number % frequency == 0
        return number in frequency

    expected = [epoch + 1 for epoch in range(first, first + 6) if validates(epoch)]
    assert epochs_of_values(len(expected), first, frequency) == expected


def test_plot_without_matplotlib_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'zoo-orca\[demo\]'"):
        TrainingStats(HISTORY).plot()


def test_a_table_has_every_value_and_no_code_of_anybodys():
    stats = TrainingStats({"loss": [0.25], "<script>": [1.0], "val_loss": []}, first_epoch=2)
    html = stats._repr_html_()
    assert "<th>3</th><td>0.25</td><td>1</td><td></td>" in html
    assert "<script>" not in html and "&lt;script&gt;" in html
