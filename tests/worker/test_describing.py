"""What the driver is told about an exception: the cause, and the frames that are the user's."""

import linecache
import re
import sys

import pandas
import pytest

from zoo.orca.errors import ModelError, OrcaError
from zoo.orca.wire.job import FULL_TRACEBACK
from zoo.orca.worker.describing import describe, missing, versions


def raised(text, file="/home/me/train.py", **known):
    """The exception that a user's program ends with."""
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    with pytest.raises(BaseException) as caught:
        exec(compile(text, file, "exec"), known)
    # The frames of this file would be the user's, too.
    return caught.value.with_traceback(caught.value.__traceback__.tb_next)


def test_frames_of_packages_are_left_out():
    text = "import json\ndef creator(config):\n    return json.loads('{')\ncreator({})\n"
    found = describe(raised(text))
    assert found.error == "WorkerError"
    assert found.message.startswith("JSONDecodeError: Expecting property name")
    assert found.where.splitlines() == [
        '  File "/home/me/train.py", line 4, in <module>',
        "    creator({})",
        '  File "/home/me/train.py", line 3, in creator',
        "    return json.loads('{')",
    ]
    assert "json/decoder.py" in found.traceback


def test_frames_of_compiled_packages_are_left_out():
    with pytest.raises(KeyError) as caught:
        pandas.DataFrame({"a": [1]})["b"]
    paths = re.findall(r'File "([^"]+)"', describe(caught.value).where)
    assert set(paths) == {__file__}


def test_all_of_the_traceback_where_the_job_wants_it(monkeypatch):
    monkeypatch.setenv(FULL_TRACEBACK, "1")
    found = describe(raised("import json\njson.loads('{')\n"))
    assert found.where == found.traceback.rstrip() and "json/decoder.py" in found.where


def test_a_cause_is_named_below():
    text = "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('no a') from e\n"
    lines = describe(raised(text)).where.splitlines()
    assert [line for line in lines if "caused" in line] == ["  caused by KeyError: 'a'"]
    assert lines[0].endswith("line 4, in <module>") and lines[-1].strip() == "{}['a']"


def test_without_a_frame_of_the_users_the_innermost_of_the_framework_stands_in():
    try:
        linecache.cache.pop("x", None)
        exec("import json; json.loads('{')", {})
    except ValueError as error:
        # As if the framework had called it from a thread of its own.
        inner = error.with_traceback(error.__traceback__.tb_next.tb_next)
    (line, _) = describe(inner).where.splitlines()
    assert line.startswith('  File "') and line.endswith("in raw_decode")


def test_orcas_own_errors_need_no_frame():
    try:
        raise ModelError("the model is not compiled")
    except OrcaError as error:
        found = describe(error.with_traceback(None))
    assert (found.error, found.message, found.where) == (
        "ModelError",
        "the model is not compiled",
        "",
    )


GRAPH = """in user code:

    File "{site}/keras/src/engine/training.py", line 1401, in train_function  *
        return step_function(self, iterator)
    File "/home/me/train.py", line 20, in train_step  **
        y = self(x) + config["bias"]

    ValueError: Dimensions must be equal, but are 3 and 2
"""


def test_what_tensorflow_puts_before_the_cause_is_cut():
    site = next(path for path in sys.path if path.endswith("site-packages"))
    found = describe(TypeError(GRAPH.format(site=site)))
    assert found.message == "ValueError: Dimensions must be equal, but are 3 and 2"
    assert found.where.splitlines() == [
        '  File "/home/me/train.py", line 20, in train_step',
        '    y = self(x) + config["bias"]',
    ]


RUN = """Graph execution error:

Detected at node model/l/GatherV2 defined at (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main

  File "{site}/tf_keras/src/engine/functional.py", line 692, in _run_internal_graph

  File "/home/me/train.py", line 2, in call

indices[0] = 104 is not in [0, 3)
\t [[{{node model/l/GatherV2}}]] [Op:__inference_run_397]"""


def test_what_a_graph_that_runs_quotes_is_cut():
    linecache.cache["/home/me/train.py"] = (1, None, ["\n", "    tf.gather(t, x)\n"], "")
    site = next(path for path in sys.path if path.endswith("site-packages"))
    found = describe(ValueError(RUN.format(site=site)))
    assert found.message == "ValueError: indices[0] = 104 is not in [0, 3)"
    assert found.where == '  File "/home/me/train.py", line 2, in call\n    tf.gather(t, x)'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "Exception encountered when calling layer 'm' (type M).\n\nshapes differ\n\n"
            "Call arguments received by layer 'm' (type M):\n  • inputs=tf.Tensor(shape=(2, 1))",
            "ValueError: shapes differ\n  in calling layer 'm' (type M)",
        ),
        (
            "Exception encountered when calling M.call().\n\n\x1b[1mshapes differ\x1b[0m\n\n"
            "Arguments received by M.call():\n  • args=()",
            "ValueError: shapes differ\n  in calling M.call()",
        ),
        ("plain\nwords", "ValueError: plain\nwords"),
        ("", "ValueError"),
    ],
)
def test_keras_account_of_a_call_comes_behind_the_cause(text, told):
    assert describe(ValueError(text)).message == told


IN_LOADER = """Caught LookupError in DataLoader worker process 1.
Original Traceback (most recent call last):
  File "{site}/torch/utils/data/_utils/worker.py", line 309, in _worker_loop
    data = fetcher.fetch(index)
           ^^^^^^^^^^^^^^^^^^^^
  File "/home/me/train.py", line 2, in __getitem__
    return self.rows[number]
           ~~~~~~~~~^^^^^^^^
LookupError: no such row
"""


def test_what_a_process_of_a_dataloader_quotes_is_cut():
    linecache.cache["/home/me/train.py"] = (1, None, ["\n", "    return self.rows[number]\n"], "")
    site = next(path for path in sys.path if path.endswith("site-packages"))
    found = describe(LookupError(IN_LOADER.format(site=site)))
    assert found.message == "LookupError: no such row\n  in DataLoader worker process 1"
    where = '  File "/home/me/train.py", line 2, in __getitem__\n    return self.rows[number]'
    assert found.where == where


def test_a_package_that_is_not_there_is_named_with_the_python_that_lacks_it():
    try:
        import nowhere.at.all  # noqa: F401
    except ModuleNotFoundError as error:
        found = describe(error)
    assert found.error == "MissingPackageError"
    first, second = found.message.splitlines()
    assert first.startswith("the package 'nowhere' is not installed on the worker ")
    assert first.endswith(f"whose Python is {sys.executable}")
    assert second.startswith(f"Install it there: {sys.executable} -m pip install nowhere")
    assert found.module == "nowhere"
    assert "zoo-orca[torch]" in str(missing(ModuleNotFoundError("", name="torch"), "torch"))


def test_versions_are_those_of_what_was_imported():
    import numpy

    assert versions()["numpy"] == numpy.__version__
    assert "tensorflow" in versions() or "tensorflow" not in sys.modules


@pytest.mark.parametrize(
    ("said", "way"),
    [
        ("indices[0,0] = 4 is not in [0, 3)", "The id 4 has no row in a table of 3"),
        ("Cast string to float is not supported", "StringIndexer"),
        ("Could not interpret metric identifier: acuracy", "Name a metric that Keras has"),
        ("Unknown loss function: 'mean_sqared'. Please ensure", "Name a loss that Keras has"),
    ],
)
def test_a_known_error_that_no_line_of_the_users_is_in_gets_its_way_out(said, way):
    assert way in describe(ValueError(said)).where
    # A line of the user's says more.
    assert describe(raised(f"raise ValueError({said!r})\n")).where.startswith('  File "/home/me')


def test_files_that_tensorflow_writes_are_nobodys():
    error = raised("raise ValueError('no')\n", file="/tmp/__autograph_generated_file7.py")
    assert "__autograph" not in describe(error).where
