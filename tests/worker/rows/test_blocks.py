"""Rows lie in the order of their partitions, whatever order their blocks arrived in."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.some_rows import batch_of, spec_of
from zoo.orca.worker.rows import spool
from zoo.orca.worker.rows.dataset import open_rows
from zoo.orca.worker.rows.spool import Spool

pytestmark = pytest.mark.timeout(120)

SPEC = spec_of(a="int32", v=("int64", (2,)), s="string")

#: Blocks as they arrive: of which partition, and how many rows.
BLOCKS = st.lists(st.integers(1, 5), min_size=1, max_size=6).flatmap(
    lambda sizes: st.permutations(list(enumerate(sizes)))
)


def _spooled(directory: Path, blocks: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    directory.mkdir()
    spooling = Spool(str(directory), SPEC, False)
    for origin, size in blocks:
        rows = [(10 * origin + k, [origin, k], f"{origin}.{k}".encode()) for k in range(size)]
        spooling.add(batch_of(SPEC, rows, origin=origin))
    return open_rows(spooling.finish().train.file, SPEC)


@given(blocks=BLOCKS, block_bytes=st.sampled_from([1, 40, 1 << 20]))
def test_any_order_of_arrival_gives_the_same_rows(tmp_path_factory, blocks, block_bytes) -> None:
    directory = tmp_path_factory.mktemp("blocks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "BLOCK_BYTES", block_bytes)
        expected = _spooled(directory / "sorted", sorted(blocks))
        found = _spooled(directory / "arrived", blocks)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_blocks_in_order_cost_nothing(tmp_path: Path) -> None:
    _spooled(tmp_path / "x", [(0, 3), (1, 2), (4, 1)])
    names = {path.name for path in (tmp_path / "x").iterdir()}
    assert names == {"train", "train.0", "train.1", "train.2", "train.2.ends", "train.places"}
