"""What to do with a framework once it is imported, if a job ever imports it.

A framework beside a job's own must be found as in a fresh process and with the job's seed. It is
not imported for that: TensorFlow's import takes some seconds and hundreds of megabytes, and most
jobs on JAX and torch never use it.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_Call = Callable[[str], None]


def when_imported(name: str, call: _Call) -> None:
    """Call a function with a module's name: now, or as soon as the module is imported.

    No code of the importing module runs in between. A function that already waits for the module
    waits once.
    """
    if sys.modules.get(name) is not None:
        call(name)
        return
    _FINDER.calls.setdefault(name, {})[call] = None
    # Between two jobs `sys.meta_path` becomes again what it was.
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


class _AtImport(MetaPathFinder):
    """Lets other finders find a module, and calls back when the module has run.

    Attributes
    ----------
    calls : dict
        The functions that wait, by the name of their module, in order.
    """

    def __init__(self) -> None:
        self.calls: dict[str, dict[_Call, None]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that another finder has for a module that is waited for."""
        if fullname not in self.calls:
            return None
        others = (one for one in sys.meta_path if one is not self)
        found = (one.find_spec(fullname, path, target) for one in others)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Loader) -> None:
        if "exec_module" in vars(loader):  # a finder that loads its modules itself, seen before
            return
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            for call in self.calls.pop(module.__name__, {}):
                call(module.__name__)

        # A loader around this one would lack what else it has, such as the module's source.
        loader.exec_module = exec_module  # type: ignore[method-assign]


_FINDER = _AtImport()
