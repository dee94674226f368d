"""What `verify` has found, as text."""

from zoo.orca.learn.planning.verification import Trial, Verification


def trial(workers: int, relative: float = 0.0, rate: float | None = None) -> Trial:
    return Trial(
        workers=workers,
        loss=0.5,
        difference=relative / 2,
        relative=relative,
        tensor="dense/kernel" if relative else "",
        rate=rate,
        order="canonical",
    )


def test_the_same_and_whether_it_pays() -> None:
    found = Verification(trials=(trial(1, rate=1000), trial(2, 2e-7, rate=1600)), steps=20)
    assert found.same
    assert str(found).splitlines() == [
        "workers  loss  weights differ by  of their size  rows a second  order",
        "1        0.5                                     1,000          canonical",
        "2        0.5   1e-07              2e-07          1,600          canonical",
        "",
        "The same after 20 steps, up to the order in which floats are added: the number of "
        "workers decides nothing but the time",
        "2 workers: 1.60 x the rows a second of 1: they pay for steps of this size",
    ]
    slower = Verification(trials=(trial(1, rate=1000), trial(2, rate=900)), steps=20)
    assert "they do not pay" in str(slower)


def test_a_difference_comes_with_its_reasons() -> None:
    found = Verification(trials=(trial(1), trial(3, 0.25)), steps=2, stays=(3,))
    text = str(found)
    assert not found.same
    assert "Not the same after 2 steps: dense/kernel on 3 workers differs by 0.25" in text
    assert "dropout" in text and "sync_batch_norm=True" in text
    assert "leave the rows where they lie on 3 workers" in text
    assert "not timed" in text and " x the rows" not in text
    assert "dropout" in found._repr_html_()
    assert repr(found) == "Verification(workers=(1, 3), steps=2, same=False)"


def test_one_number_is_no_comparison() -> None:
    assert "nothing to compare" in str(Verification(trials=(trial(2),), steps=20))
