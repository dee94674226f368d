"""Cuts a compiled JAX step where gradients are exchanged, and compiles the pieces.

XLA can call back into Python in the middle of a compiled step. But that costs as much as a small
model's step: arrays are copied back and forth, through threads that the step itself needs. So the
step is traced as a whole, whoever wrote it. Its equations are then divided into pieces at the
exchanges, and each piece is compiled by itself. Between two pieces, the other workers' numbers are
added in place to XLA's memory.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive, jaxpr_as_fun
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure

#: Changes a vector's values in place on the host, given this rank's row count.
Exchange: TypeAlias = Callable[[NDArray[Any], Any], None]

_exchange = Primitive("orca_exchange")
_exchange.def_impl(lambda flat, rows, *, exchange: _exchanged(flat, rows, exchange))
_exchange.def_abstract_eval(lambda flat, rows, *, exchange: flat)


def exchange_here(flat: jax.Array, rows: jax.Array, exchange: Exchange) -> jax.Array:
    """Return a vector after an exchange with the other workers."""
    return _exchange.bind(flat, rows, exchange=exchange)


def _exchanged(flat: jax.Array, rows: jax.Array, exchange: Exchange) -> jax.Array:
    """Exchange the values of an array that has no other reference."""
    if next(iter(flat.devices())).platform != "cpu":
        own = np.array(flat)
        exchange(own, rows)
        return jax.device_put(own, flat.sharding)
    flat.block_until_ready()
    # JAX's memory is read-only. But this array was made for the exchange, and only the next piece
    # reads it, so its memory may be written. Two copies would cost a tenth of a small model's step.
    memory = (ctypes.c_char * flat.nbytes).from_address(flat.unsafe_buffer_pointer())
    exchange(np.frombuffer(memory, flat.dtype), rows)
    return flat


class CutStep:
    """A function from state and batch to logs and state, in compiled pieces.

    Parameters
    ----------
    step : callable
        ``step(state, data) -> (logs, state)``, of arrays.
    """

    def __init__(self, step: Callable[[Any, Any], Any]) -> None:
        self._step = step
        self._cuts: dict[Any, _Cut] = {}

    def __call__(self, state: Structure, data: Structure) -> Structure:
        """Run one step; the arrays of `state` must not be used afterwards."""
        leaves = jax.tree_util.tree_leaves(data)
        key = tuple((np.shape(leaf), leaf.dtype) for leaf in leaves)
        cut = self._cuts.get(key)
        if cut is None:
            # Batches have few sizes: one for all of a pass but the last, give or take one row.
            cut = self._cuts[key] = _Cut(self._step, state, data)
        return cut([*jax.tree_util.tree_leaves(state), *leaves])


class _Cut:
    """The pieces of a step for batches of one shape."""

    def __init__(self, step: Callable[[Any, Any], Any], state: Structure, data: Structure) -> None:
        closed, shape = _traced(step, state, data)
        self._out_tree = jax.tree_util.tree_structure(shape)
        jaxpr = closed.jaxpr
        self._constants = dict(zip(jaxpr.constvars, closed.consts, strict=True))
        self._inputs, self._outputs = jaxpr.invars, jaxpr.outvars
        held = len(jax.tree_util.tree_leaves(state))
        after = jaxpr.outvars[len(jaxpr.outvars) - len(jax.tree_util.tree_leaves(shape[1])) :]
        replaced = dict(zip(jaxpr.invars[:held], after, strict=True))
        self._pieces = _pieces(jaxpr, replaced)

    def __call__(self, leaves: Sequence[jax.Array]) -> Structure:
        known = {**self._constants, **dict(zip(self._inputs, leaves, strict=True))}
        for piece in self._pieces:
            piece.run(known)
        values = [v.val if isinstance(v, Literal) else known[v] for v in self._outputs]
        return jax.tree_util.tree_unflatten(self._out_tree, values)


def _traced(step: Callable[[Any, Any], Any], state: Structure, data: Structure) -> tuple[Any, Any]:
    """Return a step's equations, with a place to cut, and the structure of its result.

    Raises
    ------
    ModelError
        If gradients are exchanged inside a loop or a branch.
    """
    trace = jax.make_jaxpr(step, return_shape=True)
    closed, shape = trace(state, data)
    if not _has_exchange(closed):
        # The user's own jax.jit may hide the exchange. Without it, its equations belong to the
        # step.
        with jax.disable_jit():
            closed, shape = trace(state, data)
    if not _has_exchange(closed):
        raise ModelError(
            "train_step applies gradients inside of a loop or a branch of JAX (scan, while_loop, "
            "cond), where workers cannot exchange them\nApply them outside of it"
        )
    return closed, shape


def _has_exchange(closed: ClosedJaxpr) -> bool:
    return any(equation.primitive is _exchange for equation in closed.jaxpr.eqns)


class _Piece:
    """Equations that run together, and the exchanges after them."""

    def __init__(self, equations: list[JaxprEqn], exchanges: list[JaxprEqn]) -> None:
        self.equations, self.exchanges = equations, exchanges
        self.needs = _unbound(equations)
        self.makes = [v for equation in equations for v in equation.outvars]

    def compile(self, later: set[Any], replaced: dict[Any, Any]) -> None:
        """Compile this piece; `later` are the variables that later pieces read."""
        self._gives = [v for v in self.makes if v in later]
        given = set(self._gives)
        # The new state reuses the memory of the old one.
        worn = [v for v in self.needs if v not in later and replaced.get(v) in given]
        kept = [v for v in self.needs if v not in set(worn)]
        self._worn, self._kept = worn, kept

        effects = frozenset().union(*(equation.effects for equation in self.equations))
        piece = Jaxpr((), [*worn, *kept], self._gives, self.equations, effects)
        function = jaxpr_as_fun(ClosedJaxpr(piece, ()))

        def compute(worn_values: list[jax.Array], kept_values: list[jax.Array]) -> list[jax.Array]:
            found: list[jax.Array] = function(*worn_values, *kept_values)
            return found

        self._compiled = jax.jit(compute, donate_argnums=0)

    def run(self, known: dict[Any, Any]) -> None:
        """Compute what later pieces and the caller need, then exchange."""
        found = self._compiled([known[v] for v in self._worn], [known[v] for v in self._kept])
        known.update(zip(self._gives, found, strict=True))
        for one in self.exchanges:
            flat, rows = (v.val if isinstance(v, Literal) else known[v] for v in one.invars)
            known[one.outvars[0]] = _exchanged(flat, rows, one.params["exchange"])


def _pieces(jaxpr: Jaxpr, replaced: dict[Any, Any]) -> list[_Piece]:
    """Divide equations into pieces: each goes to the first piece that knows all its inputs."""
    level: dict[Any, int] = {}
    dealt: list[tuple[list[JaxprEqn], list[JaxprEqn]]] = [([], [])]
    for equation in jaxpr.eqns:
        place = max((level.get(v, 0) for v in _read(equation)), default=0)
        while place >= len(dealt):
            dealt.append(([], []))
        is_exchange = equation.primitive is _exchange
        dealt[place][is_exchange].append(equation)
        for variable in equation.outvars:
            level[variable] = place + is_exchange
    pieces = [_Piece(equations, exchanges) for equations, exchanges in dealt]
    later = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    for piece in reversed(pieces):
        later.update(v for one in piece.exchanges for v in _read(one))
        piece.compile(later, replaced)
        later = later | set(piece.needs)
    return pieces


def _read(equation: JaxprEqn) -> list[Any]:
    return [v for v in equation.invars if not isinstance(v, Literal)]


def _unbound(equations: list[JaxprEqn]) -> list[Any]:
    """Return the variables that equations read and none of them makes, in order."""
    made: set[Any] = set()
    found: dict[Any, None] = {}
    for equation in equations:
        found.update(dict.fromkeys(v for v in _read(equation) if v not in made))
        made.update(equation.outvars)
    return list(found)
