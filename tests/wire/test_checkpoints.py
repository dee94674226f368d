"""Names of checkpoints sort as the training goes."""

from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.wire.checkpoints import checkpoint_name, checkpoints_in

PLACES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**9)), unique=True)


@given(PLACES)
def test_the_newest_is_last(places):
    names = [checkpoint_name(*place) for place in places]
    others = ["final.state", "fit.json", "00000001.state.partial", "x"]
    assert checkpoints_in(names + others) == [checkpoint_name(*one) for one in sorted(places)]
