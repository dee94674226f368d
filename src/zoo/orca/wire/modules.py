"""The user's own modules: which they are, and how they get to workers without those files.

Code that workers have not installed travels with the pickles that need it. Functions and classes
travel by value (`packing.py`). A whole module travels as its source if a function imports it when
it runs, or refers to it by name. The user's modules that it imports go along.
"""

import ast
import dis
import importlib.util
import linecache
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import decode_source, find_spec, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType

#: More source than this is a library, which should be installed.
_MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One module's text.

    Parameters
    ----------
    path : str
        Its path on the driver, for tracebacks.
    text : str
    is_package : bool
    """

    path: str
    text: str
    is_package: bool


@dataclass(frozen=True, slots=True)
class Sources:
    """The user's text that belongs to a pickle.

    Parameters
    ----------
    modules : dict of str to Source
        Modules that it will import, by name.
    files : dict of str to str
        The files of its functions, for tracebacks and code that reads their source: a script, or a
        notebook's cells, which are not on any disk.
    """

    modules: dict[str, Source]
    files: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.modules or self.files)


def is_installed(path: str | None) -> bool:
    """Whether a module's file is where Python or its package manager puts such files."""
    if path is None:
        return True
    roots = (root for key, root in sysconfig.get_paths().items() if "lib" in key)
    inside = any(Path(path).is_relative_to(root) for root in roots)
    # The user's site directory, Debian's, and those of a Python below this environment.
    return inside or not {"site-packages", "dist-packages"}.isdisjoint(Path(path).parts)


def is_own(module: ModuleType) -> bool:
    """Whether an imported module is the user's own file, which workers may lack."""
    name = module.__name__.partition(".")[0]
    return name not in ("zoo", "__main__") and not is_installed(getattr(module, "__file__", None))


def is_own_name(name: str) -> bool:
    """Whether a module of this name, imported or not, is the user's own file."""
    return _own_file(name) is not None


def own_imports(code: CodeType, package: str | None) -> Iterator[str]:
    """Yield the user's modules that a function's code imports when it runs.

    Parameters
    ----------
    code : code
    package : str or None
        The package for its relative imports.
    """
    source = "\n".join(_import_statements(code))
    yield from (name for name in _imports(source, package) if is_own_name(name))


def sources_of(names: Iterable[str]) -> dict[str, Source]:
    """Return the text of these modules and of all the user's modules that they import, by name.

    If that is too much text, the result is empty, and the worker's import reports the module.
    """
    found: dict[str, Source] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        file = None if name in found else _own_file(name)
        if file is None:
            continue
        # A directory without an __init__.py is a package, too.
        text = decode_source(file.read_bytes()) if file.is_file() else ""
        is_package = file.is_dir() or file.name == "__init__.py"
        path = file / "__init__.py" if file.is_dir() else file
        found[name] = Source(path=str(path), text=text, is_package=is_package)
        package = name.rpartition(".")[0]
        todo += [package, *_imports(text, name if is_package else package)]
    too_much = sum(len(source.text) for source in found.values()) > _MOST_BYTES
    return {} if too_much else found


def texts_of(files: Iterable[str]) -> dict[str, str]:
    """Return the text of those files that are the user's, if it is known here."""
    found: dict[str, str] = {}
    for file in files:
        if not is_installed(file):
            # What linecache has read may have been edited since; a notebook's cells stay.
            linecache.checkcache(file)
            found[file] = "".join(linecache.getlines(file))
    too_much = sum(map(len, found.values())) > _MOST_BYTES
    return {} if too_much else {file: text for file, text in found.items() if text}


def install(sources: Sources) -> None:
    """Let this process import modules from their text, before any file of the same name.

    A module whose text has changed since its import is imported anew.
    """
    for name, source in sources.modules.items():
        if _finder.sources.get(name, source) != source:
            sys.modules.pop(name, None)
    _finder.sources.update(sources.modules)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    for file, text in sources.files.items():
        # Without a time of change, linecache does not read it again from this machine's disk.
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)


class _Finder(MetaPathFinder, InspectLoader):
    """Finds and loads modules whose text is known."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module, if its text is here."""
        source = self.sources.get(fullname)
        if source is None:
            return None
        spec = spec_from_loader(fullname, self, origin=source.path, is_package=source.is_package)
        if spec is not None:
            spec.has_location = True  # gives the module its __file__
            if source.is_package:
                # The package's other files, if this machine has them.
                spec.submodule_search_locations = [str(Path(source.path).parent)]
        return spec

    def get_source(self, fullname: str) -> str:
        """Return a module's text, also for tracebacks."""
        return self.sources[fullname].text

    def get_code(self, fullname: str) -> CodeType:
        """Return a module's code, with its file's path on the driver."""
        source = self.sources[fullname]
        return self.source_to_code(source.text, source.path)

    def is_package(self, fullname: str) -> bool:
        """Whether a module is a package."""
        return self.sources[fullname].is_package


_finder = _Finder()


def _own_file(name: str) -> Path | None:
    """Return the Python file of a module of the user, or its directory if it has no file.

    This imports nothing, not even the packages that contain it.
    """
    top, *below = name.split(".")
    if not top or top in sys.stdlib_module_names or top in ("zoo", "__main__"):
        return None
    place = _top_level(top)
    for part in below:
        if place is None or (place.is_file() and place.name != "__init__.py"):
            return None
        directory = place if place.is_dir() else place.parent
        places = (directory / part / "__init__.py", directory / f"{part}.py", directory / part)
        place = next((one for one in places if one.exists()), None)
    return place


def _top_level(name: str) -> Path | None:
    """Return the path of a top-level module of the user."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):  # something stands in for the module
        return None
    if spec is None or _is_shadowing(name):
        return None
    place = spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    if place is None or is_installed(place):
        return None
    path = Path(place).absolute()
    return path if path.suffix == ".py" or path.is_dir() else None


def _is_shadowing(top: str) -> bool:
    """Whether a package of the same name is installed, which other code imports."""
    roots = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    return PathFinder.find_spec(top, [root for root in roots if root]) is not None


def _imports(source: str, package: str | None) -> list[str]:
    """Return the names of all modules that a text may import, packages before their modules."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level and package:
                base = _resolved(base, package, node.level)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    parts = [name.split(".") for name in names if name and not name.startswith(".")]
    return list(dict.fromkeys(".".join(p[:n]) for p in parts for n in range(1, len(p) + 1)))


def _resolved(name: str, package: str, level: int) -> str:
    try:
        return importlib.util.resolve_name("." * level + name, package)
    except ImportError:  # beyond the top-level package: the function itself will fail there
        return ""


def _import_statements(code: CodeType) -> Iterator[str]:
    """Yield the import statements of a function's code and of the code inside it, as source."""
    before: list[object] = []
    for step in dis.get_instructions(code):
        if step.opname == "EXTENDED_ARG":
            continue
        if step.opname == "IMPORT_NAME":
            level, names = _level_and_names(before)
            if names:
                yield f"from {'.' * level}{step.argval} import {', '.join(names)}"
            else:
                yield f"import {step.argval}"
        before = [*before[-1:], step.argval]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _import_statements(constant)


def _level_and_names(before: list[object]) -> tuple[int, Sequence[str] | None]:
    """Return the two constants that the bytecode loads before an import."""
    level, names = (before + [0, None])[:2]
    return (level if isinstance(level, int) else 0), names if isinstance(names, tuple) else None
