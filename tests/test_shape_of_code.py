"""The house rules that a program can check."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from tests.source_tree import Module, modules

LONGEST_FILE = 400
LONGEST_FUNCTION = 50
MOST_BY_POSITION = 2
MAY_PRINT = {"zoo.orca.driver.reports.display"}
FRAMEWORKS = "zoo.orca.frameworks."
#: The share of arguments in `zoo.orca.frameworks` that say nothing of what they take: it may fall.
MOST_ANY = 0.002
#: Names for `Any` that say something all the same.
NAMES_OF_ANY = {
    "Given": "what a function of the user's gives, of any type: what it is, is looked at",
    "Tensor": "of TensorFlow, JAX or torch: they have no members in common",
    "Structure": "tensors in lists, tuples and dicts, nested as the user's model has them",
}
#: Classes that several modules may have under one name.
SAME_NAMES = {
    "Estimator": "each framework's, as the original has them",
}

each_module = pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: Module) -> Iterator[Function]:
    """Every function and method of a module."""
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """The lines of a function's body, without its docstring.

    Its arguments do not count: the original's signatures say how many there are.
    """
    has_docstring = ast.get_docstring(function, clean=False) is not None
    before = function.body[0].end_lineno if has_docstring else function.body[0].lineno - 1
    return function.end_lineno - before


def swallows(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches every error there is and then forgets which."""
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    if not {ast.unparse(one) for one in caught} & {"Exception", "BaseException"}:
        return False
    inside = [node for statement in handler.body for node in ast.walk(statement)]
    raises = any(isinstance(node, ast.Raise) for node in inside)
    passes_on = any(isinstance(node, ast.Name) and node.id == handler.name for node in inside)
    return not (raises or passes_on)


def suppresses(call: ast.Call) -> bool:
    """Whether a call is `contextlib.suppress` of every error there is."""
    if ast.unparse(call.func) not in ("contextlib.suppress", "suppress"):
        return False
    return bool({ast.unparse(one) for one in call.args} & {"Exception", "BaseException"})


@dataclass(frozen=True)
class DataClass:
    """What the source says of one dataclass."""

    module: str
    line: int
    fields: int
    bases: tuple[str, ...]
    by_keyword: bool


@cache
def dataclasses() -> dict[str, DataClass]:
    """Every dataclass of the package by its full name."""
    found = {}
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                made = [ast.unparse(one) for one in node.decorator_list]
                made = [one for one in made if one.partition("(")[0].endswith("dataclass")]
                if made:
                    key = f"{module.name}.{node.name}"
                    fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
                    own = sum("ClassVar" not in ast.unparse(one.annotation) for one in fields)
                    bases = tuple(ast.unparse(base) for base in node.bases)
                    by_keyword = "kw_only=True" in made[0]
                    found[key] = DataClass(module.name, node.lineno, own, bases, by_keyword)
    return found


def fields_of(name: str) -> int:
    """The fields of a dataclass, with those of the dataclasses that it extends."""
    own = dataclasses()[name]
    inherited = [key for key in dataclasses() if key.rpartition(".")[2] in own.bases]
    return own.fields + sum(map(fields_of, inherited))


def calls(module: Module, name: str) -> list[int]:
    """The lines that call a function by its bare name."""
    return [
        node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def arguments(function: Function) -> Iterator[ast.arg]:
    """A function's arguments, but for the instance or class that it belongs to."""
    given = function.args
    several = [one for one in (given.vararg, given.kwarg) if one is not None]
    for one in [*given.posonlyargs, *given.args, *given.kwonlyargs, *several]:
        if one.arg not in ("self", "cls"):
            yield one


def names_of_any(module: Module) -> set[str]:
    """The names that a module gives to `Any`."""
    found = set()
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if ast.unparse(node.value) in ("Any", "typing.Any"):
                found |= {ast.unparse(target) for target in targets}
    return found


@each_module
def test_file_is_short(module):
    assert len(module.path.read_text().splitlines()) < LONGEST_FILE


@each_module
def test_functions_are_short(module):
    long = {f.name: length(f) for f in functions(module) if length(f) >= LONGEST_FUNCTION}
    assert not long


@each_module
def test_functions_say_what_they_return(module):
    assert not [f"{f.name}:{f.lineno}" for f in functions(module) if f.returns is None]


@each_module
def test_no_error_is_swallowed(module):
    handlers = [node for node in ast.walk(module.tree) if isinstance(node, ast.ExceptHandler)]
    assert not [handler.lineno for handler in handlers if swallows(handler)]


@each_module
def test_no_error_is_suppressed_whatever_it_is(module):
    made = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in made if suppresses(call)]


@pytest.mark.parametrize("name", dataclasses())
def test_values_of_many_fields_are_made_by_keyword(name):
    assert dataclasses()[name].by_keyword or fields_of(name) <= MOST_BY_POSITION


@each_module
def test_no_assert_validates(module):
    assert not [node.lineno for node in ast.walk(module.tree) if isinstance(node, ast.Assert)]


@each_module
def test_nothing_prints(module):
    assert module.name in MAY_PRINT or not calls(module, "print")


@each_module
def test_module_says_what_it_is(module):
    assert ast.get_docstring(module.tree)


def test_no_drawer_for_odds_and_ends():
    assert not [m.name for m in modules() if m.path.stem in ("utils", "util", "helpers", "misc")]


def test_arguments_of_frameworks_say_what_they_take():
    found = [module for module in modules() if module.name.startswith(FRAMEWORKS)]
    nothing = {"Any", "typing.Any"}.union(*map(names_of_any, found)) - set(NAMES_OF_ANY)
    given = [
        ast.unparse(one.annotation).strip("'") if one.annotation is not None else "Any"
        for module in found
        for function in functions(module)
        for one in arguments(function)
    ]
    share = sum(one in nothing for one in given) / len(given)
    assert share <= MOST_ANY


def test_no_name_for_any_is_left_over():
    assert set(NAMES_OF_ANY) <= set().union(*map(names_of_any, modules()))


def test_one_class_one_name():
    homes: dict[str, list[str]] = {}
    for module in modules():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module.name)
    twins = {name: found for name, found in homes.items() if len(found) > 1}
    assert twins.keys() == SAME_NAMES.keys(), twins
