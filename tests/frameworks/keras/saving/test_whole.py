"""What a file of a whole model may name, told before anything is made of it."""

import json
import os
import subprocess
import sys
import zipfile

import h5py
import pytest

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.keras.saving.whole import WholeModel

DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}}
OF_USER = {
    "module": "mine.layers",
    "class_name": "Tower",
    "registered_name": "mine>Tower",
    "config": {},
}
LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "f"}}


def function(name, module):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def archive(path, *layers, compiled=None):
    """A .keras file as Keras writes it, of these layers."""
    with h5py.File(path.with_suffix(".weights"), "w") as file:
        file["w"] = [1.0]
    config = {"class_name": "Sequential", "module": "keras", "config": {"layers": list(layers)}}
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("config.json", json.dumps({**config, "compile_config": compiled or {}}))
        made.write(path.with_suffix(".weights"), "model.weights.h5")
    return path


def legacy(path, *layers, compiled=None):
    """An .h5 file of these layers."""
    config = {"class_name": "Sequential", "config": {"layers": list(layers)}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["training_config"] = json.dumps(compiled or {})
    return path


@pytest.fixture(params=[archive, legacy])
def write(request, tmp_path):
    ending = ".keras" if request.param is archive else ".h5"
    return lambda *layers, **more: request.param(tmp_path / f"model{ending}", *layers, **more)


def checked(path, own=None, **given):
    model = WholeModel(
        path=path.name, kind=path.suffix, framework="keras", files={"": path.read_bytes()}, **given
    )
    directory = path.parent / "read"
    directory.mkdir(exist_ok=True)
    return model.checked(model.written_to(str(directory)), own or {})


def test_what_is_keras_own_passes(write):
    own = function("relu", "builtins")
    assert checked(write(DENSE, {**DENSE, "config": {"activation": own}})) == {}


def test_what_is_the_users_is_asked_for_and_found_under_the_files_name_for_it(write):
    path = write(DENSE, OF_USER)
    with pytest.raises(ModelError, match=r"made with 'Tower' of 'mine\.layers'") as caught:
        checked(path)
    assert str(caught.value).endswith("load(path, custom_objects={'Tower': Tower})")
    assert checked(path, {"Tower": int}) == {"Tower": int, "mine>Tower": int}
    assert checked(path, {"mine>Tower": int}) == {"mine>Tower": int}


@pytest.mark.parametrize(
    "named", [function("system", "os"), function("eval", "builtins"), {**DENSE, "module": "os"}]
)
def test_what_python_has_is_nobodys_layer(write, named):
    with pytest.raises(ModelError, match="which is not Keras's"):
        checked(write({**DENSE, "config": {"activation": named}}))


@pytest.mark.parametrize(
    "layer", [LAMBDA, {**DENSE, "config": {"f": {"class_name": "__lambda__", "config": {}}}}]
)
def test_code_is_read_only_where_it_is_trusted(write, layer):
    path = write(DENSE, layer)
    with pytest.raises(ModelError, match="whose code would run here") as caught:
        checked(path)
    assert "load(path, safe_mode=False)" in str(caught.value)
    assert checked(path, safe_mode=False) == {}


def test_how_it_was_compiled_counts_only_where_it_is_compiled(write):
    path = write(DENSE, compiled={"loss": function("mine", "of.mine")})
    with pytest.raises(ModelError, match="'mine' of 'of.mine'"):
        checked(path)
    assert checked(path, compile=False) == {}


def test_weights_alone_are_no_model(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["w"] = [1.0]
    with pytest.raises(ModelError, match="holds weights, and not the model"):
        checked(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no file of Keras's"])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_any_bytes(tmp_path, content, ending):
    path = tmp_path / f"model{ending}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"model{ending} is no model of Keras"):
        checked(path)


_SHORT_LOSS = """
import sys
import keras, numpy as np
from zoo.orca.frameworks.keras.saving.whole import WholeModel
x, y = np.ones((4, 2)), np.ones((4, 1))
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("adam", sys.argv[2], metrics=["mae"])
model.fit(x, y, verbose=0)
model.save(sys.argv[1])
data = {"": open(sys.argv[1], "rb").read()}
read = WholeModel(path="m", kind=".h5", framework="keras", files=data)({})
same = read.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
print(same, int(read.optimizer.iterations))
"""


def test_a_loss_by_its_short_name_is_read_from_h5(tmp_path):
    path = str(tmp_path / "m.h5")
    done = subprocess.run(
        [sys.executable, "-c", _SHORT_LOSS, path, "mse"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["True", "1"], done.stderr
