"""The recommender of the tests in numpy: its gradients and Adam written out, of no framework."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def losses(
    weights: Mapping[str, np.ndarray], batches: Iterator[Arrays], *, rate: float, epsilon: float
) -> list[float]:
    """Return the loss of each batch, before the step that is taken for it.

    No id may come twice in a batch. Weights are named as in `tests.frameworks.families`.
    """
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    w |= {"hidden bias": np.zeros(8), "out bias": np.zeros(5)}
    first, second = ({name: np.zeros_like(v) for name, v in w.items()} for _ in range(2))
    found = []
    for step, batch in enumerate(batches, start=1):
        loss, gradients = _gradients(w, batch)
        found.append(loss)
        scale = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        for name, gradient in gradients.items():
            first[name] += 0.1 * (gradient - first[name])
            second[name] += 0.001 * (gradient**2 - second[name])
            w[name] -= scale * first[name] / (np.sqrt(second[name]) + epsilon)
    return found


def _gradients(w: Arrays, batch: Mapping[str, Any]) -> tuple[float, Arrays]:
    """Return the mean cross entropy of a batch, and what each weight changes it by."""
    ids = {name: batch[name.removeprefix("gmf_").removeprefix("mlp_")] for name in list(w)[:4]}
    of = {name: w[name][rows] for name, rows in ids.items()}
    both = np.concatenate([of["mlp_user"], of["mlp_item"]], axis=1)
    hidden = both @ w["hidden"] + w["hidden bias"]
    joined = np.concatenate([of["gmf_user"] * of["gmf_item"], np.maximum(hidden, 0)], axis=1)
    out = joined @ w["out"] + w["out bias"]
    shares = np.exp(out - out.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    rows = np.arange(len(shares))
    loss = -np.log(shares[rows, batch["label"]]).mean()
    shares[rows, batch["label"]] -= 1
    to_out = shares / len(rows)
    to_joined = to_out @ w["out"].T
    to_product, to_hidden = to_joined[:, :4], to_joined[:, 4:] * (hidden > 0)
    to_both = to_hidden @ w["hidden"].T
    gradients = {
        "out": joined.T @ to_out,
        "out bias": to_out.sum(axis=0),
        "hidden": both.T @ to_hidden,
        "hidden bias": to_hidden.sum(axis=0),
    }
    to_tables = {
        "gmf_user": to_product * of["gmf_item"],
        "gmf_item": to_product * of["gmf_user"],
        "mlp_user": to_both[:, :4],
        "mlp_item": to_both[:, 4:],
    }
    for name, value in to_tables.items():
        gradients[name] = np.zeros_like(w[name])
        gradients[name][ids[name]] = value
    return float(loss), gradients
