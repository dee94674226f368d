"""What the user's modules need to work on a machine that does not have them."""

import functools
import importlib
import linecache
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zoo.orca.wire import modules, pickling
from zoo.orca.wire.modules import Source, Sources, install, is_own_name, own_imports, sources_of
from zoo.orca.wire.packing import pack

SRC = Path(__file__).parents[2] / "src"

FILES = {
    "shop/__init__.py": "from .rates import RATE\n",
    "shop/rates.py": "RATE = 5\nclass Kind:\n    def __init__(self):\n        self.rate = RATE\n",
    "shop/models.py": (
        "import enum, functools\nfrom shop import rates\nfrom . import rates as same\n"
        "class Size(enum.Enum):\n    SMALL = 2\n"
        "def twice(function):\n"
        "    @functools.wraps(function)\n    def call(x):\n        return function(x)\n"
        "    return call\n"
        "@twice\ndef build(x):\n    return rates.RATE * x\n"
        "def lazily(x):\n    from .rates import RATE\n    import plain.deep\n"
        "    return RATE * plain.deep.ONE * x\n"
        "class Builder:\n    size = Size.SMALL\n"
        "    def __call__(self, x):\n        return build(x)\n"
        "    def method(self, x):\n        return build(x)\n"
    ),
    "plain/deep.py": "import shop.rates\nONE = 1\n",  # a directory without __init__.py
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The models of a user's package, imported."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pickling, "_imported_there", set())
    yield importlib.import_module("shop.models")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shop", "plain")]:
        del sys.modules[name]


ELSEWHERE = """
import pickle, sys, traceback
it = pickle.loads(sys.stdin.buffer.read())
def failure(function):
    try:
        function(None)
    except TypeError:
        return traceback.format_exc()
"""


def elsewhere(data: bytes, expression: str) -> str:
    """Evaluate an expression of what `data` holds where nobody has the user's files."""
    command = [sys.executable, "-P", "-c", f"{ELSEWHERE}print({expression})"]
    done = subprocess.run(
        command, input=data, capture_output=True, env={"PYTHONPATH": str(SRC)}, cwd="/"
    )
    assert not done.returncode, done.stderr.decode()
    return done.stdout.decode().strip()


CREATORS = {
    "a function": lambda shop: shop.build,
    "a lambda around it": lambda shop: lambda x: shop.build(x),
    "a lambda around the package": lambda shop: lambda x: sys.modules["shop"] and shop.build(x),
    "a partial": lambda shop: functools.partial(shop.build),
    "a partial of a lambda": lambda shop: functools.partial(lambda f, x: f(x), shop.build),
    "relative imports inside": lambda shop: shop.lazily,
    "an instance": lambda shop: shop.Builder(),
    "a method": lambda shop: shop.Builder().method,
}


@pytest.mark.parametrize("name", CREATORS)
def test_creators_travel_with_all_that_they_refer_to(shop: ModuleType, name: str) -> None:
    assert elsewhere(pack(CREATORS[name](shop), "model_creator"), "it(2)") == "10"


def test_what_a_function_imports_when_it_runs_travels(shop: ModuleType) -> None:
    def creator(x: int) -> Any:
        import shop.models as models
        from plain.deep import ONE

        return models.build(x) * ONE

    assert elsewhere(pack(creator, "model_creator"), "it(2)") == "10"


def test_a_class_is_the_modules_own_where_that_is_imported(shop: ModuleType) -> None:
    size = shop.Size

    def creator(x: int) -> Any:
        from shop.models import Size

        return Size.SMALL is size.SMALL

    assert elsewhere(pack(creator, "model_creator"), "it(2)") == "True"
    # What is packed apart is of the same class, too.
    both = pickle.dumps((pack(creator, "model_creator"), pack(shop.Size.SMALL, "config")))
    apart = "type(pickle.loads(it[1])) is sys.modules['shop.models'].Size"
    assert elsewhere(both, f"pickle.loads(it[0])(2), {apart}") == "True True"


def test_what_a_configuration_holds_travels(shop: ModuleType) -> None:
    rates = sys.modules["shop.rates"]
    config = {"deep": [({"kind": rates.Kind()}, shop.Size.SMALL)]}
    found = elsewhere(pack(config, "config"), "it['deep'][0][0]['kind'].rate, it['deep'][0][1]")
    assert found == "5 Size.SMALL"


def test_tracebacks_name_the_drivers_file_and_show_its_line(shop: ModuleType) -> None:
    def creator(x: Any) -> Any:
        import shop.models

        return shop.models.build(x)

    data = pack(creator, "model_creator")
    file = Path(str(shop.__file__))
    file.unlink()
    told = elsewhere(data, "failure(it)")
    assert f'File "{file}", line 13, in build\n    return rates.RATE * x' in told
    assert (
        f'File "{__file__}", line ' in told and "in creator\n    return shop.models.build" in told
    )


def test_a_cell_of_a_notebook_is_known_by_its_text() -> None:
    text = "def creator(x):\n    return 1 + x\n"
    linecache.cache["/tmp/ipykernel_1/2.py"] = (len(text), None, text.splitlines(True), "cell")
    known: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "/tmp/ipykernel_1/2.py", "exec"), known)
    told = elsewhere(pack(known["creator"], "model_creator"), "failure(it)")
    assert 'File "/tmp/ipykernel_1/2.py", line 2, in creator\n    return 1 + x' in told
    source = elsewhere(pack(known["creator"], "m"), "__import__('inspect').getsource(it)")
    assert source == text.strip()


def test_a_file_that_was_edited_travels_as_it_is_now(shop: ModuleType) -> None:
    file = Path(str(shop.__file__))
    assert linecache.getlines(str(file))  # as a traceback that was shown reads it
    file.write_text(FILES["shop/models.py"] + "    def more(self, x):\n        return 2 * x\n")
    again = importlib.reload(shop)
    source = elsewhere(pack(again.Builder.more, "m"), "__import__('inspect').getsource(it)")
    assert source == "def more(self, x):\n        return 2 * x"


def test_a_module_that_changed_is_imported_anew(shop: ModuleType, monkeypatch) -> None:
    monkeypatch.setattr(modules, "_finder", modules._Finder())
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    sources = sources_of(["shop.rates"])
    for name in [name for name in sys.modules if name.startswith("shop")]:
        del sys.modules[name]
    install(Sources(sources, {}))
    assert importlib.import_module("shop.rates").RATE == 5
    changed = sources["shop.rates"].text.replace("5", "6")
    install(Sources({"shop.rates": Source(path="rates.py", text=changed, is_package=False)}, {}))
    assert importlib.import_module("shop.rates").RATE == 6


def test_imports_are_followed_and_nothing_is_imported_for_that(shop: ModuleType) -> None:
    assert "plain" not in sys.modules
    assert set(sources_of(["plain.deep"])) == {"plain", "plain.deep", "shop", "shop.rates"}
    assert set(sources_of(["shop.models"])) == {*sources_of(["plain.deep"]), "shop.models"}
    assert "plain" not in sys.modules
    assert set(own_imports(shop.lazily.__code__, "shop")) >= {"shop.rates", "plain", "plain.deep"}


@pytest.mark.parametrize("name", ["numpy", "json", "zoo.orca", "zoo", "nowhere", "numpy.linalg"])
def test_what_is_installed_or_is_nowhere_is_not_the_users(name: str) -> None:
    assert not is_own_name(name)
    assert sources_of([name]) == {}


def test_a_file_that_is_called_like_a_package_is_not_sent(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "pytest.py").write_text("")
    (tmp_path / "random.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pytest")
    assert not is_own_name("pytest") and not is_own_name("random")
    (tmp_path / "mine.py").write_text("")
    assert is_own_name("mine")


def test_a_library_is_too_much_to_be_sent(shop: ModuleType, monkeypatch) -> None:
    monkeypatch.setattr(modules, "_MOST_BYTES", 10)
    assert sources_of(["shop.models"]) == {}
