"""Vocabularies and boundaries that layers learnt before training, in `model_creator`.

They are not variables, and the creator makes them anew in each process. Weights are trained for one
numbering of words. Another numbering would give every word another word's row. So they are compared
between workers and with the state.
"""

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from zoo.orca.errors import ModelError, StateError
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.types import Layer
from zoo.orca.worker.collective.protocol import Collective

#: A layer's name, its number of entries, and their checksum.
Table = tuple[str, int, str]


def tables(made: KerasModel) -> list[Table]:
    """Return the tables of the model's layers, in the layers' order."""
    found = []
    for layer in made.model._flatten_layers():
        entries = _entries(layer)
        if entries is not None:
            digest = hashlib.sha256(b"\0".join(entries)).hexdigest()[:16]
            found.append((str(layer.name), len(entries), digest))
    return found


def check_workers(made: KerasModel, collective: Collective) -> None:
    """Refuse vocabularies that differ between workers; called on all ranks.

    Raises
    ------
    ModelError
        The error is the same on every rank.
    """
    if collective.size == 1:
        return
    told = collective.all_gather(json.dumps(tables(made)).encode())
    first, *others = [json.loads(bytes(one)) for one in told]
    for rank, other in enumerate(others, start=1):
        if (different := _difference(first, other)) is not None:
            name, one, two = different
            raise ModelError(
                f"the layer {name!r} has another vocabulary on worker {rank} than on worker 0 "
                f"({two:,} entries and {one:,})\n{_WAY_OUT}"
            )


def check_state(made: KerasModel, saved: Sequence[Table] | None) -> None:
    """Refuse vocabularies that differ from those that the state was trained with.

    Raises
    ------
    StateError
    """
    if saved is None:  # from an earlier version, or another framework
        return
    if (different := _difference(saved, tables(made))) is not None:
        name, before, now = different
        raise StateError(
            f"the layer {name!r} has another vocabulary than the one that the state was trained "
            f"with ({now:,} entries and {before:,})\n{_WAY_OUT}"
        )


def refresh(made: KerasModel) -> None:
    """Let layers that calculate with copies of their variables refresh the copies."""
    layers = made.keras.package().layers
    for layer in made.model._flatten_layers():
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
        elif isinstance(layer, layers.Discretization) and getattr(layer, "_is_adapted", False):
            layer.finalize_state()


_WAY_OUT = (
    "Let model_creator make the same one every time: adapt the layer on the same rows, or give it "
    "the vocabulary, as an argument or from a file that every worker reads"
)


def _difference(one: Sequence[Table], other: Sequence[Table]) -> tuple[str, int, int] | None:
    """Return the first layer that differs, with its entries in both; names may differ."""
    nothing = ("", 0, "")
    for k in range(max(len(one), len(other))):
        a, b = (rest[k] if k < len(rest) else nothing for rest in (one, other))
        if tuple(a)[1:] != tuple(b)[1:]:
            return a[0] or b[0], a[1], b[1]
    return None


def _entries(layer: Layer) -> list[bytes] | None:
    """Return a layer's entries as bytes in order; None: it has none of its own."""
    export = getattr(getattr(layer, "lookup_table", None), "export", None)
    if export is not None:
        keys, values = (np.asarray(one) for one in export())
        return [_bytes(key) for key in keys[np.argsort(values, kind="stable")].tolist()]
    boundaries = getattr(layer, "bin_boundaries", None)
    if boundaries is None:
        return None
    # As printed, not as stored, because the last bit may depend on the machine.
    return [f"{float(one):.6g}".encode() for one in np.asarray(boundaries).reshape(-1)]


def _bytes(key: bytes | str | int) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()
