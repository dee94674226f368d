"""The package's source as syntax trees, for the tests of its conventions."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package that this module's relative imports start from."""
        is_package = self.path.name == "__init__.py"
        return self.name if is_package else self.name.rpartition(".")[0]


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package."""
    return tuple(_modules())


def _modules() -> Iterator[Module]:
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield Module(name, path, ast.parse(path.read_text(), str(path)))


@dataclass(frozen=True)
class Import:
    """One imported module, and whether the import runs when its file is imported."""

    target: str
    line: int
    is_lazy: bool


def imports(module: Module) -> Iterator[Import]:
    """Every import that can run: those under TYPE_CHECKING cannot."""
    yield from _imports(module, module.tree, is_lazy=False)


def _imports(module: Module, node: ast.AST, *, is_lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, is_lazy)
        elif isinstance(child, ast.ImportFrom):
            for target in _targets(module, child):
                yield Import(target, child.lineno, is_lazy)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _imports(module, other, is_lazy=is_lazy)
        else:
            in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(module, child, is_lazy=is_lazy or in_function)


def _targets(module: Module, node: ast.ImportFrom) -> Iterator[str]:
    """What `from x import y` imports: the module x.y where there is one, else x."""
    base = node.module or ""
    if node.level:
        package = module.package.split(".")
        package = package[: len(package) - node.level + 1]
        base = ".".join([*package, base] if base else package)
    names = {known.name for known in modules()} if base.startswith("zoo") else set()
    for alias in node.names:
        submodule = f"{base}.{alias.name}"
        yield submodule if submodule in names else base


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
