"""PyTorch models that are there already: predicted, evaluated and trained on as PyTorch does."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyspark.sql import SparkSession
from torch import nn

from zoo.orca.errors import InvalidInputError, StateError
from zoo.orca.learn.pytorch import Estimator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 64
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5]).astype(np.float32)
DATA = {"x": X, "y": Y}
WHOLE = {"batch_size": ROWS, "verbose": 0}  # one step an epoch: the order of rows plays no part
KINDS = ["module", "scripted", "m.pt", "program", "m.pt2"]


def adam(model: Any, config: dict[str, Any]) -> Any:
    return torch.optim.Adam(model.parameters(), 0.05)


def made() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))


@pytest.fixture(autouse=True)
def torchscript_is_old() -> Any:
    """PyTorch warns of TorchScript, and has nothing else that holds a model to be trained."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        yield


def saved(model: nn.Module, kind: str, directory: Path) -> Any:
    """The model as an object, or a path of it."""
    model = copy.deepcopy(model)
    if kind == "module":
        return model
    if kind in ("scripted", "m.pt"):
        scripted = torch.jit.script(model)
        if kind == "m.pt":
            torch.jit.save(scripted, directory / kind)
        return scripted if kind == "scripted" else directory / kind
    dynamic = [{0: torch.export.Dim.DYNAMIC}]
    program = torch.export.export(model, (torch.from_numpy(X),), dynamic_shapes=dynamic)
    if kind == "m.pt2":
        torch.export.save(program, directory / kind)
    return program if kind == "program" else directory / kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_predicted_evaluated_and_trained_on(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    model = made()
    given: dict[str, Any] = {"optimizer": adam, "loss": nn.MSELoss(), "num_workers": 2}
    given["safe_mode"] = kind != "m.pt2"
    est = Estimator.from_saved(saved(model, kind, tmp_path), **given)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    with torch.no_grad():
        expected, loss = model(x).numpy(), nn.functional.mse_loss(model(x), y).item()
    for rows in (1, ROWS):
        found = est.predict({"x": X[:rows]}, feature_cols=["x"])["prediction"]
        np.testing.assert_allclose(found, expected[:rows], rtol=1e-5, atol=1e-6)
    assert est.evaluate(DATA, **WHOLE)["val_loss"] == pytest.approx(loss, rel=1e-5)
    est.fit(DATA, epochs=3, **WHOLE)
    optimizer = adam(model, {})
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    state = est.save(str(tmp_path / "state"))
    again = Estimator.from_saved(saved(made(), kind, tmp_path), **given)
    again.load(state)
    for name, value in model.state_dict().items():
        for one in (est, again):
            mine = one.get_model().state_dict()[name]
            torch.testing.assert_close(mine, value, rtol=1e-4, atol=1e-5)


def test_a_program_that_may_run_code_is_read_only_where_it_is_trusted(tmp_path: Path) -> None:
    path = saved(made(), "m.pt2", tmp_path)
    with pytest.raises(StateError, match="may run code") as caught:
        Estimator.from_saved(path)
    assert "from_saved(path, safe_mode=False)" in str(caught.value)
    with pytest.raises(InvalidInputError, match="hides its batch normalisation"):
        Estimator.from_saved(path, safe_mode=False, sync_batch_norm=True)


def test_what_is_no_model_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    torch.save(made(), tmp_path / "pickled.pt")
    with pytest.raises(StateError, match="without running code"):
        Estimator.from_saved(tmp_path / "pickled.pt")
    whole = (tmp_path / "pickled.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StateError, match="no file of PyTorch, or a part of one\n.*TorchScript"):
        Estimator.from_saved(tmp_path / "cut.pt")
    with pytest.raises(InvalidInputError, match="a path or a torch.nn.Module, got function"):
        Estimator.from_saved(made)
    with pytest.raises(InvalidInputError, match="no model yet"):
        Estimator.from_saved(Estimator.from_torch(model=made()).save(str(tmp_path / "state")))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = Path(saved(made(), "m.pt", tmp_path))
    data = bytearray(path.read_bytes())
    weights = made().state_dict()
    value = next(iter(weights.values())).detach().numpy().tobytes()
    data[data.index(value)] ^= 1
    path.write_bytes(data)
    with pytest.raises(StateError, match="is damaged: its part .*\n.*another copy"):
        Estimator.from_saved(path)
