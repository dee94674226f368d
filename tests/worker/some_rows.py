"""Arrow columns with the spec that describes them, for tests of what workers do with rows."""

import pyarrow as pa
from hypothesis import strategies as st

from zoo.orca.wire.faults import agree
from zoo.orca.wire.features import ColumnSpec, FeatureSpec, fill_shapes
from zoo.orca.worker.rows.spool import Spool

ARROW = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "string": pa.binary(),
}
VALUES = {
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float32": st.floats(width=32),
    "string": st.binary(max_size=8),
}


def arrow_type(column):
    kind = ARROW[column.dtype]
    for _ in column.shape:
        kind = pa.list_(kind)
    return kind


def spec_of(**columns):
    """A spec with these features: a dtype, or a dtype and a shape."""
    pairs = {name: c if isinstance(c, tuple) else (c, ()) for name, c in columns.items()}
    return FeatureSpec(
        features=tuple(
            ColumnSpec(name=name, dtype=dtype, shape=shape)
            for name, (dtype, shape) in pairs.items()
        )
    )


def batch_of(spec, rows, marker=None, origin=0, places=None):
    """A batch as Spark sends it, of one partition; `rows` are tuples of values."""
    arrays = [
        pa.array([row[index] for row in rows], arrow_type(column))
        for index, column in enumerate(spec.columns)
    ]
    names = [f"c{index}" for index in range(len(arrays))]
    if marker is not None:
        arrays.append(pa.array(marker, pa.bool_()))
        names.append("validation")
    arrays.append(pa.array([origin] * len(rows), pa.int32()))
    arrays.append(pa.array([0] * len(rows) if places is None else places, pa.int64()))
    names += ["origin", "place"]
    return pa.RecordBatch.from_arrays(arrays, names)


def nested(values, shape):
    """A strategy of values, in lists of that shape."""
    for length in reversed(shape):
        values = st.lists(values, min_size=length, max_size=length)
    return values


@st.composite
def tables(draw, max_rows=30):
    """A spec with unknown lengths, the true shapes by name, and rows for it."""
    dtypes = draw(st.lists(st.sampled_from(sorted(ARROW)), min_size=1, max_size=4))
    shapes = [tuple(draw(st.lists(st.integers(0, 3), max_size=3))) for _ in dtypes]
    spec = FeatureSpec(
        features=tuple(
            ColumnSpec(name=f"column {index}", dtype=dtype, shape=(None,) * len(shape))
            for index, (dtype, shape) in enumerate(zip(dtypes, shapes, strict=True))
        )
    )
    row = st.tuples(*(nested(VALUES[d], s) for d, s in zip(dtypes, shapes, strict=True)))
    rows = draw(st.lists(row, max_size=max_rows))
    return spec, {c.name: s for c, s in zip(spec.columns, shapes, strict=True)}, rows


def spool(directory, spec, batches, validate=False):
    """Spool batches and return what became of them."""
    spooling = Spool(str(directory), spec, validate)
    for batch in batches:
        spooling.add(batch)
    return spooling.finish()


def filled(spec, *spooled):
    """The spec that all ranks agree on."""
    shapes, problem = agree(spec, spooled)
    assert not problem
    return fill_shapes(spec, shapes)


def problem_of(spec, *spooled):
    """What all ranks say is wrong with the rows."""
    return agree(spec, spooled)[1]
