"""Cuts a compiled JAX step where gradients are exchanged, and compiles the pieces.

XLA can call back into Python in the middle of a compiled step. But that costs as much as a small
model's step: arrays are copied back and forth, through threads that the step itself needs. So the
step is traced as a whole, whoever wrote it. Its equations are then divided into pieces at the
exchanges, and each piece is compiled by itself. Between two pieces, the other workers' numbers are
added in place to XLA's memory.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Primitive
from jax.extend.core.primitives import reshape_p

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.gradients.layout import GradientSpec
from zoo.orca.frameworks.keras.backends.jax_equations import (
    computed,
    made,
    unbound,
    value,
    variables,
)
from zoo.orca.frameworks.keras.backends.jax_exchange import Exchange, Layout
from zoo.orca.frameworks.keras.backends.jax_rows import rows_of
from zoo.orca.frameworks.keras.types import Tensor

_exchange = Primitive("orca_exchange")
_exchange.multiple_results = True
_exchange.def_abstract_eval(lambda rows, of, *gradients, exchange: gradients)


def exchange_here(
    gradients: Sequence[jax.Array], rows: Tensor, of: Tensor, exchange: Exchange
) -> list[jax.Array]:
    """Return gradients after an exchange with the other workers.

    Parameters
    ----------
    gradients : sequence of array
    rows, of : array
        This rank's and all ranks' rows of the step.
    exchange : Exchange
    """
    return list(_exchange.bind(rows, of, *gradients, exchange=exchange))


def _eagerly(
    rows: Tensor, of: Tensor, *gradients: jax.Array, exchange: Exchange
) -> list[jax.Array]:
    """Exchange gradients outside of any compiled step."""
    layout = Layout([_spec(gradient) for gradient in gradients], {}, {})
    packed = layout.packed(rows, of, dict(enumerate(gradients)), {})
    return layout.unpacked(layout.exchanged(exchange, int(rows), int(of), packed), ())


_exchange.def_impl(_eagerly)


def _spec(gradient: Tensor) -> GradientSpec:
    return GradientSpec(shape=gradient.shape, dtype=np.dtype(gradient.dtype), sparse=False)


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
        values = [value(v, known) for v in self._outputs]
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


class _Meeting:
    """An exchange of a step: what is sent of its gradients, and what comes back.

    Parameters
    ----------
    equation : JaxprEqn
        The exchange.
    makers : dict
        The equations of the step, by the variables that they make.
    wanted : set
        The variables that the step returns.
    """

    def __init__(self, equation: JaxprEqn, makers: dict[Any, JaxprEqn], wanted: set[Any]) -> None:
        self.exchange: Exchange = equation.params["exchange"]
        self.rows, self.of, *self._gradients = equation.invars
        self.outputs = equation.outvars
        specs = [_spec(v.aval) for v in self._gradients]
        found = {k: rows_of(v, makers) for k, v in enumerate(self._gradients)}
        found = {k: rows for k, rows in found.items() if rows and specs[k].dtype == np.float32}
        counts = {k: sum(one.numbers.aval.size for one in rows) for k, rows in found.items()}
        room = self.exchange.chosen(specs, counts)
        self.layout = Layout(specs, {k: counts[k] for k in room}, room)
        #: The parts of each gradient that leaves its piece as rows.
        self.found = {
            k: rows for k, rows in found.items() if k in room or k in self.layout.takes_rows
        }
        self._is_wanted = not wanted.isdisjoint(self.outputs)

    @property
    def counts(self) -> list[Any]:
        """The variables of how many rows there are."""
        return variables([self.rows, self.of])

    @property
    def reads(self) -> list[Any]:
        """The variables that are sent."""
        dense = [v for k, v in enumerate(self._gradients) if k not in self.found]
        rows = [v for found in self.found.values() for r in found for v in (r.numbers, r.values)]
        return variables([self.rows, self.of, *dense, *rows])

    def packed(self, known: dict[Any, Any]) -> list[jax.Array]:
        """Return what is sent, at the end of the piece before."""
        dense = {k: value(v, known) for k, v in enumerate(self._gradients) if k not in self.found}
        rows = {
            k: [(known[r.numbers], known[r.values]) for r in found]
            for k, found in self.found.items()
        }
        of = value(self.of, known)
        return self.layout.packed(value(self.rows, known), of, dense, rows)

    def run(self, known: dict[Any, Any], packed: list[jax.Array]) -> None:
        """Exchange what the piece before has packed."""
        rows, of = int(value(self.rows, known)), int(value(self.of, known))
        known[self] = self.layout.exchanged(self.exchange, rows, of, packed)
        if self._is_wanted:
            summed = self.layout.unpacked(known[self], self.layout.rooms)
            known.update(zip(self.outputs, summed, strict=True))


class _Piece:
    """Equations that run together, and the exchanges after them."""

    def __init__(self, equations: list[JaxprEqn], meetings: list[_Meeting]) -> None:
        self.equations, self._meetings = equations, meetings
        self.makes = made(equations)
        self.sends = [v for meeting in meetings for v in meeting.reads]
        self.needs = unbound(equations)
        own = {*self.makes, *self.needs}
        self.needs += [v for v in dict.fromkeys(self.sends) if v not in own]

    def compile(self, later: set[Any], replaced: dict[Any, Any], meetings: list[_Meeting]) -> None:
        """Compile this piece.

        Parameters
        ----------
        later : set
            The variables that later pieces, or the hosts' part of an exchange, read.
        replaced : dict
            The new state's variables, by the old one's.
        meetings : list of _Meeting
            Of earlier pieces.
        """
        gives = [v for v in self.makes if v in later]
        given = set(gives)
        self._received = [m for m in meetings if not set(self.needs).isdisjoint(m.outputs)]
        arriving = {v for meeting in self._received for v in meeting.outputs}
        needs = [v for v in self.needs if v not in arriving]
        # The new state reuses the memory of the old one. JAX gives each result the memory of the
        # first donated array of its shape. So both are in one order, and first: XLA would copy an
        # array whose memory goes to another one's successor.
        worn = [v for v in needs if v not in later and replaced.get(v) in given]
        renewed = [replaced[v] for v in worn]
        self._gives = list(dict.fromkeys([*renewed, *gives]))
        kept = [v for v in needs if v not in set(worn)]
        self._worn, self._kept = worn, kept
        self._compiled = jax.jit(self._compute, donate_argnums=0, static_argnums=3)

    def _compute(
        self,
        worn_values: list[jax.Array],
        kept_values: list[jax.Array],
        arrived: list[list[jax.Array]],
        rooms: tuple[tuple[int, ...], ...],
    ) -> tuple[list[jax.Array], list[list[jax.Array]]]:
        known = dict(zip([*self._worn, *self._kept], [*worn_values, *kept_values], strict=True))
        for meeting, arrays, room in zip(self._received, arrived, rooms, strict=True):
            summed = meeting.layout.unpacked(arrays, room)
            known.update(zip(meeting.outputs, summed, strict=True))
        known.update(computed(self.equations, known))
        return [known[v] for v in self._gives], [m.packed(known) for m in self._meetings]

    def run(self, known: dict[Any, Any]) -> None:
        """Compute what later pieces and the caller need, then exchange."""
        found, packed = self._compiled(
            [known[v] for v in self._worn],
            [known[v] for v in self._kept],
            [known[meeting] for meeting in self._received],
            tuple(meeting.layout.rooms for meeting in self._received),
        )
        known.update(zip(self._gives, found, strict=True))
        for meeting, arrays in zip(self._meetings, packed, strict=True):
            meeting.run(known, arrays)


def _pieces(jaxpr: Jaxpr, replaced: dict[Any, Any]) -> list[_Piece]:
    """Divide equations into pieces."""
    makers = {v: equation for equation in jaxpr.eqns for v in equation.outvars}
    outputs = set(variables(jaxpr.outvars))
    places = _places(jaxpr)
    dealt: list[tuple[list[JaxprEqn], list[_Meeting]]] = [([], []) for _ in range(max(places) + 1)]
    for place, equation in zip(places, jaxpr.eqns, strict=True):
        if equation.primitive is _exchange:
            dealt[place][1].append(_Meeting(equation, makers, outputs))
        else:
            dealt[place][0].append(equation)
    pieces = [_Piece(equations, meetings) for equations, meetings in dealt]
    later = outputs
    for place, piece in reversed(list(enumerate(pieces))):
        # The host reads how many rows there are.
        later = later | {v for m in dealt[place][1] for v in m.counts}
        earlier = [meeting for _, meetings in dealt[:place] for meeting in meetings]
        piece.compile(later, replaced, earlier)
        later = later | set(piece.needs)
    return pieces


def _places(jaxpr: Jaxpr) -> list[int]:
    """Return the piece of each equation: the first one that knows all its inputs.

    What only has another shape is there where it is first read. Between pieces it would be a copy.
    """
    level: dict[Any, int] = {}
    places = []
    for equation in jaxpr.eqns:
        place = max((level.get(v, 0) for v in variables(equation.invars)), default=0)
        places.append(place)
        is_exchange = equation.primitive is _exchange
        level.update(dict.fromkeys(equation.outvars, place + is_exchange))
    first = dict.fromkeys(variables(jaxpr.outvars), 0)
    for at, equation in reversed(list(enumerate(jaxpr.eqns))):
        if equation.primitive is reshape_p:
            places[at] = max(places[at], first.get(equation.outvars[0], 0))
        for v in variables(equation.invars):
            first[v] = min(first.get(v, places[at]), places[at])
    return places
