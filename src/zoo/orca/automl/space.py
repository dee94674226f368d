"""A search space as a whole: its grid, and one draw from it."""

import itertools
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from zoo.orca.automl.hp import Computed, Drawn, Draws, Grid, labels_of
from zoo.orca.errors import InvalidInputError


def checked_space(space: Any) -> dict[str, Any]:
    """Return a search space.

    Raises
    ------
    InvalidInputError
        If it is none, or has keys that are no text.
    """
    if space is None:
        return {}
    if not isinstance(space, Mapping):
        raise InvalidInputError(
            f"search_space must be a dict, got {type(space).__qualname__}\n"
            "Write search_space={'lr': hp.loguniform(1e-4, 1e-1), 'batch_size': 32}"
        )
    for path, _ in _leaves(space):
        for key in path:
            if not isinstance(key, str):
                raise InvalidInputError(
                    f"search_space has a key {key!r}, and hyperparameters have names\n"
                    f"Write {str(key)!r}"
                )
    return dict(space)


def grid_of(space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each point of a space's grid, as a storage knows it; one empty point without grids."""
    grids = {
        _name(path): labels_of(one.categories)
        for path, one in _leaves(space)
        if isinstance(one, Grid)
    }
    return [dict(zip(grids, point, strict=True)) for point in itertools.product(*grids.values())]


def draw(space: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
    """Return a configuration: a value for each hyperparameter, and the constants.

    Raises
    ------
    InvalidInputError
        If a function of `hp.sample_from` fails, or the trials of a stored search were drawn from
        another space; names the hyperparameter.
    """
    computed, found = [], dict[str, Any]()
    for path, one in _leaves(space):
        if isinstance(one, Computed):
            computed.append((path, one))
            _put(found, path, None)  # keys stay in their order
        else:
            _put(found, path, _drawn(one, draws, _name(path)) if isinstance(one, Drawn) else one)
    for path, rule in computed:
        try:
            _put(found, path, rule.function(SimpleNamespace(config=_Config(found))))
        except Exception as error:  # whatever a user's function raises
            name = _name(path)
            raise InvalidInputError(
                f"search_space[{name!r}]: its function failed: {type(error).__name__}: {error}\n"
                "It finds the values of the others, and of functions before it, in spec.config"
            ) from error
    return found


def _drawn(one: Drawn, draws: Draws, name: str) -> Any:
    try:
        return one.draw(draws, name)
    except ValueError as error:
        raise InvalidInputError(
            f"search_space[{name!r}] does not fit the search's earlier trials: {error}\n"
            "Give the space that the search was begun with, or this search another name"
        ) from error


class _Config(dict[str, Any]):
    """A configuration whose values are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no hyperparameter {name!r}") from None

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        return _Config(value) if isinstance(value, dict) else value


def _leaves(
    space: Mapping[Any, Any], path: tuple[Any, ...] = ()
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for key, one in space.items():
        if isinstance(one, Mapping) and one:
            yield from _leaves(one, (*path, key))
        else:
            yield (*path, key), one


def _name(path: tuple[str, ...]) -> str:
    return "/".join(path)


def _put(found: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        found = found.setdefault(key, {})
    found[path[-1]] = value
