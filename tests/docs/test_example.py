"""The example runs, whichever way its ratings come."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import ratings  # noqa: E402
import report  # noqa: E402
import tabular  # noqa: E402

#: What each example is run with: every framework once, because a run takes most of a minute.
ON_RATINGS = ["tf2", pytest.param("keras", marks=pytest.mark.thorough)]
ON_A_TABLE = ["pytorch"]

LINES = ((1, 1193, 5, 978300760), (1, 661, 3, 978302109), (2, 1193, 4, 978298413))


def written(separator: str, header: str = "") -> bytes:
    lines = [separator.join(map(str, line)) for line in LINES]
    return "\n".join([*([header] if header else []), *lines, ""]).encode()


@pytest.mark.parametrize("separator", ratings.SEPARATORS)
def test_reads_every_separator(separator):
    table = ratings.read_ratings(written(separator))
    assert [tuple(row.values()) for row in table.to_pylist()] == list(LINES)
    assert table.column_names == list(ratings.COLUMNS)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_passes_over_a_header(mark):
    table = ratings.read_ratings(written(",", f"{mark}userId,movieId,rating,timestamp"))
    assert table.num_rows == len(LINES)


def test_rounds_half_stars_up():
    table = ratings.read_ratings(b"1,2,0.5,7\r\n1,3,3.5,8\r\n1,4,4.0,9\r\n")
    assert table["rating"].to_pylist() == [1, 4, 4]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"1 2 3 4\n",
        b"1,2,3\n",
        b"1,2,3,4\n1,2\n",
        b"1,2,a,4\n",
        b"1,2,9,4\n",
        b"a,b,c,d\n",
    ],
)
def test_refuses_what_is_not_ratings(text):
    with pytest.raises(ratings.RatingsError):
        ratings.read_ratings(text)


def test_writes_what_the_quick_start_reads(tmp_path):
    path = tmp_path / "new" / "ratings.txt"
    ratings.write_colons(ratings.read_ratings(written("::")), path)
    assert path.read_bytes() == written(":")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small data set in MovieLens 1M's place, and nothing in the cache."""
    archive = tmp_path / "ml.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr(ratings.MEMBER, written("::"))
    monkeypatch.setattr(ratings, "URL", archive.as_uri())
    monkeypatch.setattr(ratings, "MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return archive


def test_downloads_once(published):
    said: list[str] = []
    first = ratings.find_ratings(say=said.append)
    published.unlink()
    again = ratings.find_ratings(say=said.append)
    assert first.num_rows == len(LINES) and again.equals(first)
    assert said[0].startswith("Downloading") and said[1].endswith("downloaded before")


@pytest.mark.parametrize("trouble", ["no network", "another file"])
def test_generates_where_nothing_can_be_downloaded(published, monkeypatch, trouble):
    if trouble == "no network":
        published.unlink()
    else:
        published.write_bytes(b"Sign in to this network")
    monkeypatch.setattr(ratings, "MOVIELENS_1M", ratings.MOVIELENS_100K)
    said: list[str] = []
    table = ratings.find_ratings(say=said.append)
    assert table.num_rows == ratings.MOVIELENS_100K.rows
    assert "generated" in said[-1] and len(said) == 2
    assert not (ratings.cache_directory() / "ml-1m.zip").exists()


def test_a_download_may_not_take_for_ever(published, monkeypatch):
    monkeypatch.setattr(ratings, "DOWNLOAD_SECONDS", -1)
    with pytest.raises(TimeoutError):
        ratings.fetch(ratings.URL)


@pytest.fixture(scope="module")
def generated():
    table = ratings.generate(ratings.MOVIELENS_1M, seed=1)
    return {name: table[name].to_numpy() for name in ratings.COLUMNS}


def test_generator_has_the_size_of_movielens(generated):
    user, item = generated["user"], generated["item"]
    assert len(user) == 1_000_209
    assert user.min() == 1 and user.max() == len(np.unique(user)) == 6040
    assert item.min() >= 1 and item.max() <= 3952 and len(np.unique(item)) > 3700


def test_generator_has_the_shape_of_movielens(generated):
    user, item, rating = generated["user"], generated["item"], generated["rating"]
    assert len(np.unique(user.astype(np.int64) * 10_000 + item)) == len(user)
    assert np.bincount(user)[1:].min() >= 20
    shares = np.bincount(rating, minlength=6)[1:] / len(rating)
    assert shares == pytest.approx(ratings.STARS, abs=0.001)
    popular = np.sort(np.bincount(item))[::-1]
    assert 0.35 < popular[: 3952 // 10].sum() / len(item) < 0.6
    assert np.median(popular) < popular.mean() < popular[0] / 8


def test_generator_plants_more_than_chance(generated):
    user, item, rating = (generated[name] for name in ("user", "item", "rating"))
    learns = np.random.default_rng(0).random(len(user)) < 0.8
    guess = np.full(len(user), rating.mean())
    for ids in (user, item):
        left = rating - guess
        total = np.bincount(ids[learns], left[learns], ids.max() + 1)
        guess += (total / (np.bincount(ids[learns], minlength=ids.max() + 1) + 5))[ids]
    unseen = ~learns
    commonest = max(ratings.STARS)
    # Biases alone, which a model finds in its first epoch; its factors find the rest.
    assert (np.rint(guess) == rating)[unseen].mean() > commonest + 0.08


def test_generator_draws_the_same_for_the_same_seed():
    shape = ratings.scaled(5_000)
    assert ratings.generate(shape, 3).equals(ratings.generate(shape, 3))
    assert not ratings.generate(shape, 3).equals(ratings.generate(shape, 4))


@pytest.mark.parametrize("rows", [20, 999, 20_000, 100_000, 1_500_000])
def test_generator_scales(rows):
    shape = ratings.scaled(rows)
    assert shape.rows == rows and shape.users * 20 <= rows
    if rows < 200_000:
        table = ratings.generate(shape)
        assert len(set(zip(*(table[c].to_pylist() for c in ("user", "item")), strict=True))) == rows


def test_too_few_rows_are_refused():
    with pytest.raises(ratings.RatingsError, match="too few"):
        ratings.scaled(19)


def test_table_aligns():
    text = report.table(["name", "value"], [["a", 0.5], ["longer", 12]])
    assert text.splitlines() == [
        "name     value",
        "------  ------",
        "a       0.5000",
        "longer      12",
    ]


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    line = report.draw_curves({"loss": [1.0]}, tmp_path / "curves.png")
    assert "pip install" in line and not list(tmp_path.iterdir())


def run_example(
    *arguments: str, program: str = "movielens_ncf"
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent / "src")}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{program}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )


@pytest.mark.slow
@pytest.mark.parametrize("framework", ON_RATINGS)
def test_the_whole_example(tmp_path, framework):
    table = ratings.generate(ratings.scaled(20_000), seed=2)
    ratings.write_colons(table, tmp_path / "colons")
    given = tmp_path / "ratings.dat"
    given.write_text((tmp_path / "colons").read_text().replace(":", "::"))
    output = tmp_path / "output"
    ran = run_example(
        *("--ratings", str(given), "--epochs", "2", "--batch-size", "125", "--workers", "2"),
        *("--output", str(output), "--framework", framework),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("epoch"))
    names = [name.lower() for name in lines[heading].split()]
    assert sorted(names[1:]) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    epochs = [list(map(float, line.split())) for line in lines[heading + 2 : heading + 4]]
    loss, accuracy = names.index("loss"), names.index("val_accuracy")
    assert epochs[1][loss] < epochs[0][loss]
    assert epochs[1][accuracy] > max(ratings.STARS)
    assert any(line.lower().startswith("validation_accuracy") for line in lines)
    five = next(i for i, line in enumerate(lines) if "predicted rating" in line)
    for line in lines[five + 2 : five + 7]:
        user, item, predicted, true = map(int, line.split())
        assert user >= 1 and item >= 1 and {predicted, true} <= {1, 2, 3, 4, 5}
    assert f"The trained model: {output / 'NCF.ckpt'}" in lines
    assert (output / "NCF.ckpt").stat().st_size > 10_000
    assert (output / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_failure_is_an_exit_code(tmp_path):
    given = tmp_path / "poem.txt"
    given.write_text("Tyger Tyger, burning bright\n")
    ran = run_example("--ratings", str(given))
    assert ran.returncode == 1
    assert "separated by" in ran.stderr and "Traceback" not in ran.stderr
    assert run_example("--ratings", str(tmp_path / "nothing")).returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("framework", ON_A_TABLE)
def test_the_example_on_a_table(tmp_path, framework):
    ran = run_example(
        *("--rows", "12000", "--epochs", "3", "--batch-size", "64", "--workers", "2"),
        *("--output", str(tmp_path), "--framework", framework),
        program="tabular",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    figures = dict(line.lower().rsplit(None, 1) for line in lines if len(line.split()) > 1)
    exact = float(figures["area under the roc curve, exactly"])
    assert exact > 0.7
    # What the workers found from their thresholds, and the rows' own scores, are one figure.
    assert float(figures["validation_auc"]) == pytest.approx(exact, abs=0.005)
    alarms = next(i for i, line in enumerate(lines) if line.startswith("alarms"))
    shares = [float(line.split()[2]) for line in lines[alarms + 2 : alarms + 7]]
    assert shares == sorted(shares) and shares[-1] > 0.7
    picture = tmp_path / f"roc_{framework}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"ROC curve: {picture}" in lines


def test_the_curve_of_known_scores():
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.7, 0.7, 0.1])
    false, true, area = tabular.roc(labels, scores)
    assert false.tolist() == [0, 0, 0.5, 1] and true.tolist() == [0, 0.5, 1, 1]
    assert area == pytest.approx(0.875)


def test_every_framework_has_both_models():
    import ast

    for framework in tabular.FRAMEWORKS:
        tree = ast.parse((EXAMPLES / f"models_{framework}.py").read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert {"ncf", "tabular", "ncf_estimator", "tabular_estimator"} <= names
