"""Parameters for single keys of `config`, which the creators get: made as they are asked for.

A grid of Spark ML's is over parameters. What a creator takes is the user's own affair, so each key
of `config` can be one. Its name is found again where a grid is read from a file: Spark asks the
stage for an attribute of the parameter's name.
"""

from typing import Any, Self

from pyspark.ml.param import Param, Params

_PREFIX = "config."


class ConfigKeys(Params):
    """A stage whose `config` has parameters for its keys."""

    def configParam(self, key: str) -> Param[Any]:
        """Return the parameter of one key of `config`, for `ParamGridBuilder` and `fit(params)`.

        Parameters
        ----------
        key : str

        Examples
        --------
        ``ParamGridBuilder().addGrid(stage.configParam("lr"), [0.1, 0.01])``
        """
        name = _PREFIX + key
        found: Param[Any] | None = self.__dict__.get(name)
        if found is None:
            found = Param(self, name, f"the key {key!r} of config, which creators get")
            self.__dict__[name] = found
            self._params = None  # Spark keeps the list of a stage's parameters
        return found

    def __getattr__(self, name: str) -> Any:
        """Return the parameter of a key by its whole name."""
        if name.startswith(_PREFIX) and len(name) > len(_PREFIX):
            return self.configParam(name.removeprefix(_PREFIX))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def copy(self, extra: Any = None) -> Self:
        """Return a copy with the same uid and some parameters set."""
        for param in extra or ():
            if isinstance(param, Param) and param.parent == self.uid:
                # Made with another copy of this stage, so that this one may not have it yet.
                self.hasParam(param.name)
        return super().copy(extra)

    def _with_keys(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return `config` with the keys that have a parameter of their own."""
        keys = {
            param.name.removeprefix(_PREFIX): value
            for param, value in self._paramMap.items()
            if param.name.startswith(_PREFIX)
        }
        return {**config, **keys}
