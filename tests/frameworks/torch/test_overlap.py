"""Gradients that are sent while others are computed: sums are those of one exchange at the end."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.frameworks.apart import apart
from tests.frameworks.ranks import Data, job_of, same_on_all, train
from tests.frameworks.torch_models import Embedded, of
from tests.worker.collective.groups.test_hosts import laid_out
from tests.worker.collective.ring_processes import in_threads, thread_ring
from zoo.orca.errors import PeerLostError
from zoo.orca.frameworks.torch import overlap
from zoo.orca.frameworks.torch.exchange import Gradients
from zoo.orca.wire.job import TrainJob
from zoo.orca.worker.collective.ring import Ring
from zoo.orca.worker.collective.rounded import Rounded

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks"),
]

STEPS = 4


@pytest.fixture(autouse=True)
def small_parts() -> Iterator[None]:
    """Gradients of any size are sent early, in parts of a few numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "LEAST_BYTES", 0)
        patch.setattr(overlap, "_PART_BYTES", 64)
        yield


class Odd(nn.Module):
    """A parameter that nobody uses, one that rank 1 alone uses, one shared, one of sparse rows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.unused, self.some = nn.Linear(4, 4), nn.Linear(4, 1)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.table = nn.Embedding(5, 4, sparse=True)
        self.third = nn.Linear(4, 4, dtype=torch.float64)

    def forward(self, x: torch.Tensor, rank: int) -> torch.Tensor:
        hidden = self.second(torch.tanh(self.first(x))) + self.table.weight.sum(0)
        hidden = hidden + self.table(torch.tensor([rank, 4])).sum(0) + self.third(x.double())
        output = hidden.sum(1)
        return output + self.some(x).squeeze(-1) if rank else output


Backward = Callable[[nn.Module, torch.Tensor, int], None]


def once(model: nn.Module, x: torch.Tensor, rank: int) -> None:
    model(x, rank).square().mean().backward()


def twice(model: nn.Module, x: torch.Tensor, rank: int) -> None:
    """Two passes of what counts as the last one, on rank 1 alone in the second step."""
    loss = model(x, rank).square().mean()
    loss.backward(retain_graph=True)
    if rank:
        loss.backward()


def trained(
    model: Odd,
    ring: Any,
    early: bool,
    backward: Backward = once,
    group: int = 1,
    idle: int = -1,
    freezes: bool = False,
) -> tuple[list[np.ndarray], list[int]]:
    """The weights after some steps, and the parts that were on their way before each exchange."""
    rank, parameters = ring.rank, list(model.parameters())
    marks = [parameter is model.table.weight for parameter in parameters]
    gradients = Gradients(parameters, marks, ring, overlap=early)
    optimizer = torch.optim.SGD(parameters, 0.05)
    random = torch.Generator().manual_seed(rank)
    sent = []
    for step in range(STEPS):
        if step == 2 and freezes:
            model.first.requires_grad_(False)
        with gradients.sending():
            is_idle = step == idle and rank == 0
            for number in range(group):
                x = torch.randn(3, 4, generator=random)
                if number == group - 1:
                    gradients.begin_last()
                if not is_idle:
                    backward(model, x, rank)
            sent.append(gradients._overlapped._next if gradients._overlapped else 0)
            gradients(idle=is_idle, divisor=torch.tensor(float(rank + 1)))
            optimizer.step()
            optimizer.zero_grad()
    return [parameter.detach().numpy() for parameter in parameters], sent


@pytest.mark.parametrize(
    "given",
    [{}, {"group": 3}, {"idle": 0}, {"idle": 2}, {"freezes": True}, {"backward": twice}],
    ids=["plain", "accumulated", "first idle", "last idle", "frozen", "nested backward"],
)
def test_sums_are_those_of_one_exchange(given: dict[str, Any]) -> None:
    with laid_out("AB") as rings:
        found = in_threads([partial(trained, Odd(), ring, True, **given) for ring in rings])
        expected = in_threads([partial(trained, Odd(), ring, False, **given) for ring in rings])
    for weights, sent in found:
        for ours, theirs in zip(weights, expected[0][0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        if given.get("backward") is twice:
            assert sent[2:] == [0] * (STEPS - 2)  # it has shown that it does not do
    if not given:
        assert min(found[1][1][1:]) > 0 and found[1][1][0] == 0
    assert not senders()


def test_rounded_sums_are_the_same_on_all_ranks() -> None:
    with laid_out("ABC") as rings:
        found = in_threads([partial(trained, Odd(), Rounded(ring), True) for ring in rings])
    for weights, _ in found[1:]:
        for ours, theirs in zip(weights, found[0][0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_within_a_host_and_of_few_bytes_all_are_sent_at_the_end(monkeypatch) -> None:
    with thread_ring(2) as rings:
        assert not overlap.pays(rings[0], 1 << 30)
    with laid_out("AB") as rings:
        assert overlap.pays(rings[0], 1) and overlap.pays(Rounded(rings[0]), 1)
        monkeypatch.setattr(overlap, "LEAST_BYTES", 8 << 20)
        assert not overlap.pays(rings[0], 2 << 20 - 1)


def senders() -> list[threading.Thread]:
    """The threads that send, once those that have been stopped had time to end."""
    found = [thread for thread in threading.enumerate() if thread.name == "gradients"]
    for thread in found:
        thread.join(5)
    return [thread for thread in found if thread.is_alive()]


def fails_later(model: nn.Module, x: torch.Tensor, rank: int) -> None:
    """In the midst of the third backward pass of rank 1, once some gradients are on their way."""
    model.calls = getattr(model, "calls", 0) + 1
    loss = model(x, rank)
    if rank == 1 and model.calls == 3:
        handle = model.first.weight.register_hook(fail)
        try:
            loss.square().mean().backward()
        finally:
            handle.remove()
    loss.square().mean().backward()


def fail(gradient: torch.Tensor) -> None:
    raise ValueError("in the backward pass")


def test_an_error_in_a_backward_pass_ends_all_ranks_and_their_threads() -> None:
    def run(model: Odd, ring: Ring) -> Any:
        try:
            return trained(model, ring, True, fails_later)
        except ValueError:
            ring.close()  # as a worker does that fails
            raise

    with laid_out("AB") as rings:
        first, second = in_threads([partial(run, Odd(), ring) for ring in rings])
        assert isinstance(first, PeerLostError)
        assert isinstance(second, ValueError)
    assert not senders()


def early_and_apart(job: Any, rows: Any, collective: Any) -> Any:
    overlap.LEAST_BYTES, overlap._PART_BYTES = 0, 64
    return apart(job, rows, collective)


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation": 2, "clip_grad_norm": 0.5}])
def test_workers_equal_one(torch_ranks, options: dict[str, Any]) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(100, 4)).astype(np.float32)
    columns = {"x": x, "u": random.integers(0, 500, 100).astype(np.int32), "y": x.sum(axis=1)}
    # The second rank has no rows in most steps.
    data = Data.of(columns, (97, 3), features=("x", "u"))
    fields = {"batch_size": 20, "epochs": 2, "framework": "torch", "options": options}
    job = job_of(TrainJob, of(Embedded), data.spec, **fields)
    ran = torch_ranks.run([partial(early_and_apart, job, data.rows(rank, 20)) for rank in range(2)])
    same_on_all(ran)
    alone = data.in_order(20, 2 * data.plan(20).steps_per_pass)
    steps = data.plan(20).steps_per_pass
    expected = train(
        torch_ranks, of(Embedded), alone, shuffle=False, steps_per_epoch=steps, **fields
    )
    for name, value in expected[0].weights().items():
        np.testing.assert_allclose(ran[0].weights()[name], value, rtol=1e-5, atol=1e-6)
