"""Finds the gradients of embeddings in a traced JAX step.

JAX makes the gradient of a table as zeros of the table's size, to which it adds the rows that the
batch has used. So what a worker would send grows with the table. The equations still tell rows and
numbers apart, and those are sent instead.
"""

from dataclasses import dataclass

from jax.extend.core import JaxprEqn, Literal, Var
from jax.extend.core.primitives import add_jaxvals_p, broadcast_in_dim_p, jit_p, scatter_add_p
from jax.lax import GatherScatterMode

from zoo.orca.frameworks.keras.backends.jax_equations import Atom

#: Rows outside of the table are dropped; in the second mode JAX may do anything with them.
_DROPPED = (GatherScatterMode.FILL_OR_DROP, GatherScatterMode.PROMISE_IN_BOUNDS)


@dataclass(frozen=True)
class AddedRows:
    """Variables that hold rows of a table's gradient, and where they are added.

    Attributes
    ----------
    numbers : variable
        Of shape (..., 1).
    values : variable
        Of shape (..., *row).
    """

    numbers: Var
    values: Var


def rows_of(gradient: Atom, makers: dict[Var, JaxprEqn]) -> list[AddedRows]:
    """Return the rows that make up a gradient, in the order in which they are added up.

    Parameters
    ----------
    gradient : variable
    makers : dict
        The equations, by the variables that they make.

    Returns
    -------
    list of AddedRows
        Empty if the gradient is anything but sums of rows.
    """
    maker = None if isinstance(gradient, Literal) else makers.get(gradient)
    if maker is None:
        return []
    if maker.primitive is add_jaxvals_p:
        # A table that is used twice.
        parts = [rows_of(v, makers) for v in maker.invars]
        return [rows for part in parts for rows in part] if all(parts) else []
    if maker.primitive is jit_p:
        return _rows_in(maker, gradient)
    if maker.primitive is scatter_add_p and _adds_rows(maker, makers):
        _, numbers, values = maker.invars
        return [AddedRows(numbers, values)]
    return []


def _rows_in(call: JaxprEqn, gradient: Var) -> list[AddedRows]:
    """Return the rows that a compiled function of the step adds up, as its caller knows them."""
    inner = call.params["jaxpr"].jaxpr
    made = inner.outvars[call.outvars.index(gradient)]
    found = rows_of(made, {v: equation for equation in inner.eqns for v in equation.outvars})
    outer = dict(zip(inner.invars, call.invars, strict=True))
    if not all(rows.numbers in outer and rows.values in outer for rows in found):
        return []
    return [AddedRows(outer[rows.numbers], outer[rows.values]) for rows in found]


def _adds_rows(scatter: JaxprEqn, makers: dict[Var, JaxprEqn]) -> bool:
    """Return whether whole rows are added to zeros, and rows outside of the table are dropped."""
    table, numbers, values = (v.aval for v in scatter.invars)
    axes = scatter.params["dimension_numbers"]
    batch = len(numbers.shape) - 1
    return (
        _is_zeros(makers.get(scatter.invars[0]))
        and scatter.params["mode"] in _DROPPED
        and axes.inserted_window_dims == (0,)
        and axes.scatter_dims_to_operand_dims == (0,)
        and axes.operand_batching_dims == ()
        and axes.update_window_dims == tuple(range(batch, len(values.shape)))
        and values.shape == (*numbers.shape[:-1], *table.shape[1:])
    )


def _is_zeros(maker: JaxprEqn | None) -> bool:
    if maker is None or maker.primitive is not broadcast_in_dim_p:
        return False
    of = maker.invars[0]
    return isinstance(of, Literal) and bool(of.val == 0)
