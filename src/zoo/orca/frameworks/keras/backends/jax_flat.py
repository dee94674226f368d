"""Computes on narrow tables as if they were vectors, on processors.

XLA's compiler for processors makes a loop of an array's last axis. In a table of 16 columns, each
loop has 16 numbers: Adam's update takes twice as long as that of vectors of as many numbers, and on
a model with embeddings it is most of a step. Operations on single elements are the same for any
shape, and so are their results.

XLA would join the change of shape with the operations, and make the same loops again; or it would
copy memory that is reused. It does neither across the borders of a branch. So vectors are computed
in a branch that is always taken, which XLA cannot know.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var
from jax.extend.core import primitives as p

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.backends.jax_equations import (
    Atom,
    computed,
    unbound,
    value,
    variables,
)
from zoo.orca.frameworks.keras.types import Variable

#: Rows of so many numbers are as fast as a vector.
_WIDE = 64
#: Smaller arrays are not worth the longer trace.
_LARGE = 1 << 14
_ELEMENTWISE = frozenset(
    [p.add_p, p.sub_p, p.mul_p, p.div_p, p.max_p, p.min_p, p.neg_p, p.sign_p, p.abs_p]
    + [p.sqrt_p, p.rsqrt_p, p.square_p, p.integer_pow_p, p.pow_p, p.exp_p, p.log_p]
    + [p.gt_p, p.ge_p, p.lt_p, p.le_p, p.eq_p, p.ne_p, p.and_p, p.or_p, p.not_p]
    + [p.select_n_p, p.clamp_p, p.convert_element_type_p, p.is_finite_p]
)


def narrow_shapes(variables: Iterable[Variable]) -> frozenset[tuple[int, ...]]:
    """Return the shapes of the variables that are updated sooner as vectors."""
    if jax.default_backend() != "cpu":
        return frozenset()
    return frozenset(tuple(v.shape) for v in variables if _is_narrow(tuple(v.shape)))


def flattened(
    step: Callable[..., Structure], shapes: frozenset[tuple[int, ...]]
) -> Callable[..., Structure]:
    """Return a step that treats arrays of these shapes as vectors, where elements are apart.

    Only those: with the activations of a batch as well, NCF's step took 0.4 ms longer.
    """

    @functools.wraps(step)
    def flat_step(*arguments: Structure) -> Structure:
        traced, shape = jax.make_jaxpr(step, return_shape=True)(*arguments)
        found = _evaluated(traced, jax.tree_util.tree_leaves(arguments), shapes)
        return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(shape), found)

    return flat_step


def _evaluated(
    traced: ClosedJaxpr, arguments: Sequence[Any], shapes: frozenset[tuple[int, ...]]
) -> list[Any]:
    """Return the results of equations, of which some are computed on vectors."""
    jaxpr = traced.jaxpr
    values = _Values()
    values.wholes.update(zip(jaxpr.constvars, traced.consts, strict=True))
    values.wholes.update(zip(jaxpr.invars, arguments, strict=True))

    read = Counter(v for e in jaxpr.eqns for v in variables(e.invars))
    read.update(variables(jaxpr.outvars))

    def makes_narrow(equation: JaxprEqn) -> bool:
        return any(v.aval.shape in shapes for v in equation.outvars)

    def kind(equation: JaxprEqn) -> tuple[bool, bool]:
        is_narrow = makes_narrow(equation)
        return is_narrow, is_narrow and _is_flat(equation)

    for (is_narrow, is_flat), group in itertools.groupby(jaxpr.eqns, kind):
        equations = list(group)
        if is_flat:
            _compute_flat(equations, values, read)
        elif not is_narrow:
            _compute(equations, values)
        else:
            for equation in equations:
                _compute_narrow(equation, values, shapes)
    return [values.whole(v) for v in jaxpr.outvars]


class _Values:
    """The values of variables, in their own shape and as vectors."""

    def __init__(self) -> None:
        self.wholes: dict[Var, Any] = {}
        self.flats: dict[Var, Any] = {}

    def whole(self, variable: Atom) -> Any:
        """Return a variable's value in its own shape."""
        if isinstance(variable, Literal):
            return variable.val
        if variable not in self.wholes:
            self.wholes[variable] = self.flats[variable].reshape(variable.aval.shape)
        return self.wholes[variable]

    def flat(self, variable: Atom) -> Any:
        """Return a variable's value as a vector, or a scalar's own."""
        if isinstance(variable, Literal) or not variable.aval.shape:
            return self.whole(variable)
        if variable not in self.flats:
            self.flats[variable] = self.wholes[variable].reshape(-1)
        return self.flats[variable]


def _is_flat(equation: JaxprEqn) -> bool:
    """Return whether an equation, which makes a narrow table, treats each element by itself."""
    if len(equation.outvars) != 1:
        return False
    shapes = {v.aval.shape for v in equation.invars}
    own = equation.outvars[0].aval.shape
    return equation.primitive in _ELEMENTWISE and own in shapes <= {(), own}


def _compute(equations: list[JaxprEqn], values: _Values) -> None:
    reads = unbound(equations)
    values.wholes.update(computed(equations, {v: values.whole(v) for v in reads}))


def _compute_narrow(
    equation: JaxprEqn, values: _Values, shapes: frozenset[tuple[int, ...]]
) -> None:
    """Compute an equation that needs its tables in their own shape."""
    if equation.primitive is not p.jit_p:
        _compute([equation], values)
        return
    given = [values.whole(v) for v in equation.invars]
    inner = _evaluated(equation.params["jaxpr"], given, shapes)
    values.wholes.update(zip(equation.outvars, inner, strict=True))


def _compute_flat(equations: list[JaxprEqn], values: _Values, read: Counter[Var]) -> None:
    """Compute equations on vectors, in a branch; `read` counts how often variables are read."""
    inside = Counter(v for e in equations for v in variables(e.invars))
    makers = {v: e for e in equations for v in e.outvars if read[v] > inside[v]}
    reads = unbound(equations)
    given = [values.flat(v) for v in reads]

    def compute(given: list[Any]) -> list[Any]:
        known = dict(zip(reads, given, strict=True))
        for equation in equations:
            arguments = [value(v, known) for v in equation.invars]
            known[equation.outvars[0]] = equation.primitive.bind(*arguments, **equation.params)
        return [known[v] for v in makers]

    def keep(given: list[Any]) -> list[Any]:
        known = dict(zip(reads, given, strict=True))
        return [_old(v, maker, known) for v, maker in makers.items()]

    # With its last bit set, no number is zero. XLA does not look at single bits.
    first = next(x for x in given if x.shape)[0]
    always = (jnp.asarray(first, jnp.int32) | 1) != 0
    found = jax.lax.cond(always, compute, keep, given)
    values.flats.update(zip(makers, found, strict=True))


def _old(new: Var, maker: JaxprEqn, known: Mapping[Var, Any]) -> Any:
    """Return what an update is added to or taken from, if it can be told.

    XLA then writes the new numbers to the memory of the old ones.
    """
    for v in variables(maker.invars):
        if v in known and v.aval.shape == new.aval.shape and v.aval.dtype == new.aval.dtype:
            return known[v]
    return jnp.zeros(new.aval.size, new.aval.dtype)


def _is_narrow(shape: tuple[int, ...]) -> bool:
    """Return whether an array is large and its last axis short."""
    return len(shape) > 1 and shape[-1] < _WIDE and prod(shape) >= _LARGE
