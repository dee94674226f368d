"""Computes some of a traced step's equations."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from jax.extend.core import ClosedJaxpr, DropVar, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

#: What an equation reads.
Atom: TypeAlias = Var | Literal


def computed(equations: Sequence[JaxprEqn], known: Mapping[Var, Any]) -> dict[Var, Any]:
    """Return the values of all variables that equations make.

    Parameters
    ----------
    equations : sequence of JaxprEqn
    known : mapping
        The values of at least the variables that `unbound` returns.
    """
    reads, makes = unbound(equations), made(equations)
    effects = frozenset().union(*(equation.effects for equation in equations))
    function = jaxpr_as_fun(ClosedJaxpr(Jaxpr((), reads, makes, list(equations), effects), ()))
    return dict(zip(makes, function(*(known[v] for v in reads)), strict=True))


def made(equations: Sequence[JaxprEqn]) -> list[Var]:
    """Return the variables that equations make, in order."""
    return [v for e in equations for v in e.outvars if not isinstance(v, DropVar)]


def unbound(equations: Sequence[JaxprEqn]) -> list[Var]:
    """Return the variables that equations read and none of them makes, in order."""
    before: set[Var] = set()
    found: dict[Var, None] = {}
    for equation in equations:
        found.update(dict.fromkeys(v for v in variables(equation.invars) if v not in before))
        before.update(equation.outvars)
    return list(found)


def variables(atoms: Sequence[Atom]) -> list[Var]:
    """Return what is no constant."""
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def value(atom: Atom, known: Mapping[Any, Any]) -> Any:
    """Return a constant, or the value of a variable."""
    return atom.val if isinstance(atom, Literal) else known[atom]
