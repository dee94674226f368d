"""Where ratings come from: a file, a download of MovieLens 1M, or a generator of the same shape.

::

    find_ratings -> read_ratings      the file that --ratings names
                 -> download          MovieLens 1M, kept in the user's cache directory
                 -> generate          planted factors, where there is no network

Each gives one Arrow table with the columns user, item, rating and timestamp; `write_colons` makes
of it the text that the quick start reads.
"""

import hashlib
import http.client
import io
import os
import time
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
MD5 = "c4d9eecfca2ab87c1945afe126590906"
MEMBER = "ml-1m/ratings.dat"
CONNECT_SECONDS = 10
DOWNLOAD_SECONDS = 60

COLUMNS = ("user", "item", "rating", "timestamp")
SEPARATORS = ("::", ":", "\t", ",")

#: How often MovieLens 1M gives 1 to 5 stars.
STARS = (0.056, 0.107, 0.261, 0.349, 0.227)
FEWEST_OF_A_USER = 20
FACTORS = 4


class RatingsError(ValueError):
    """What should be ratings is something else."""


@dataclass(frozen=True)
class Shape:
    """How many users, items and ratings a data set has."""

    users: int
    items: int
    rows: int


MOVIELENS_1M = Shape(users=6040, items=3952, rows=1_000_209)
MOVIELENS_100K = Shape(users=943, items=1682, rows=100_000)


def find_ratings(
    path: Path | None = None,
    rows: int | None = None,
    seed: int = 0,
    say: Callable[[str], object] = print,
) -> pa.Table:
    """Return the ratings of `path`; else `rows` generated ones; else MovieLens 1M or its like."""
    if path is not None:
        say(f"Ratings of {path}")
        return read_ratings(path.read_bytes())
    if rows is not None:
        say(f"{rows:,} generated ratings")
        return generate(scaled(rows), seed)
    try:
        return download(say)
    except (OSError, http.client.HTTPException, zipfile.BadZipFile) as error:
        say(f"No MovieLens 1M ({error}): generated ratings of its size and shape instead")
        return generate(MOVIELENS_1M, seed)


def read_ratings(text: bytes) -> pa.Table:
    """Parse ratings whose fields are separated by ``::``, ``:``, a tab or a comma.

    A first line of names is passed over, and half stars are rounded up.

    Raises
    ------
    RatingsError
        If these are not ratings.
    """
    first = text.partition(b"\n")[0].decode("utf-8-sig", errors="replace").rstrip("\r")
    separator = find_separator(first)
    has_header = not first[0].isdigit()
    if separator == "::":
        text, separator = text.replace(b"::", b":"), ":"
    try:
        table = csv.read_csv(
            io.BytesIO(text),
            csv.ReadOptions(column_names=COLUMNS, skip_rows=int(has_header)),
            csv.ParseOptions(delimiter=separator),
            csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.float64())),
        )
    except pa.ArrowInvalid as error:
        raise RatingsError(f"these are not ratings: {error}") from error
    return _checked(table)


def find_separator(line: str) -> str:
    """Return what separates the four fields of a line.

    Raises
    ------
    RatingsError
        If nothing does.
    """
    for separator in SEPARATORS:
        fields = line.split(separator)
        if len(fields) == len(COLUMNS) and all(fields):
            return separator
    raise RatingsError(
        "a line of ratings is user, item, rating and timestamp, separated by '::', ':', a tab or "
        f"a comma; the first one is {line!r}"
    )


def _checked(table: pa.Table) -> pa.Table:
    """Return the table with whole numbers in it."""
    if not table.num_rows or any(column.null_count for column in table.columns):
        raise RatingsError(
            "these are not ratings: there are no lines, or fields with nothing in them"
        )
    table = table.set_column(2, "rating", pc.ceil(table["rating"]))
    least, most = pc.min_max(table["rating"]).as_py().values()
    if least < 1 or most > 5:
        raise RatingsError(f"ratings go from 1 to 5, and these go from {least:g} to {most:g}")
    return table.cast(_schema())


def write_colons(table: pa.Table, path: Path) -> None:
    """Write ``user:item:rating:timestamp`` lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    csv.write_csv(table, path, csv.WriteOptions(include_header=False, delimiter=":"))


def download(say: Callable[[str], object] = print) -> pa.Table:
    """Return MovieLens 1M, from the cache if it is there.

    Raises
    ------
    OSError
        If GroupLens cannot be reached in time, or what comes is not the file that it should be.
    """
    kept = cache_directory() / "ml-1m.zip"
    if kept.is_file() and _is_genuine(content := kept.read_bytes()):
        say("MovieLens 1M, downloaded before")
    else:
        say(f"Downloading MovieLens 1M from {URL}")
        content = fetch(URL)
        if not _is_genuine(content):
            raise OSError(f"{URL} is not the file with the checksum {MD5}")
        _keep(content, kept)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return read_ratings(archive.read(MEMBER))


def fetch(url: str) -> bytes:
    """Return what is at `url`; raise an OSError when that takes too long."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    pieces = []
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
        while piece := response.read(1 << 16):
            pieces.append(piece)
            if time.monotonic() > deadline:
                raise TimeoutError(f"no end after {DOWNLOAD_SECONDS} s")
    return b"".join(pieces)


def cache_directory() -> Path:
    """Return this user's directory for what can be had again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo-orca"


def _is_genuine(content: bytes) -> bool:
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == MD5


def _keep(content: bytes, path: Path) -> None:
    """Write a file that is whole or not there, whoever else writes it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)


def scaled(rows: int) -> Shape:
    """Return the shape of fewer (or more) ratings that are as dense as MovieLens 1M."""
    if rows < FEWEST_OF_A_USER:
        raise RatingsError(
            f"every user has {FEWEST_OF_A_USER} ratings or more, so {rows} are too few"
        )
    ratio = (rows / MOVIELENS_1M.rows) ** 0.5
    users = max(1, min(round(MOVIELENS_1M.users * ratio), rows // 30))
    items = max(round(MOVIELENS_1M.items * ratio), 3 * rows // users)
    return Shape(users, items, rows)


def generate(shape: Shape = MOVIELENS_1M, seed: int = 0) -> pa.Table:
    """Draw ratings in which there is something to learn.

    Users and items have planted factors and biases, and a rating is their product in five steps,
    with noise. Popularity and activity have long tails; nobody rates an item twice. Of the unseen
    ratings of a million, Keras gets 0.56 right with the example's model after three epochs at batch
    1280; always the commonest rating is right for 0.35.
    """
    rng = np.random.default_rng(seed)
    activity = _activity(shape, rng)
    popularity = rng.standard_normal(shape.items)
    user = np.repeat(np.arange(shape.users), activity)
    item = _choices(activity, np.exp(1.25 * popularity), rng)
    stars = _stars(_appeal(shape, user, item, popularity, rng))
    begin, end = 956_703_932, 1_046_454_590
    timestamp = rng.integers(begin, end, shape.rows)
    return pa.table([user + 1, item + 1, stars, timestamp], names=COLUMNS).cast(_schema())


def _activity(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return how many items each user rates: many few, few many, and nobody two thirds of all."""
    most = 2 * shape.items // 3
    shares = np.exp(1.1 * rng.standard_normal(shape.users))
    counts = np.full(shape.users, FEWEST_OF_A_USER)
    left = shape.rows - counts.sum()
    while left:
        open_shares = np.where(counts < most, shares, 0)
        counts += rng.multinomial(left, open_shares / open_shares.sum())
        left = np.clip(counts - most, 0, None).sum()
        counts = np.minimum(counts, most)
    return counts


def _choices(activity: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw each user's items by weight, without replacement.

    Exponential times with the weights as rates: those that come first are such a draw.
    """
    chosen = []
    for count in activity:
        times = rng.standard_exponential(len(weights), dtype=np.float32) / weights
        chosen.append(np.sort(np.argpartition(times, count - 1)[:count]))
    return np.concatenate(chosen)


def _appeal(
    shape: Shape,
    user: np.ndarray,
    item: np.ndarray,
    popularity: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return how much each user likes each item: their biases, their factors' product, noise."""
    user_bias = 0.6 * rng.standard_normal(shape.users)
    item_bias = 0.3 * popularity + 0.7 * rng.standard_normal(shape.items)
    user_factors = rng.standard_normal((shape.users, FACTORS))
    item_factors = rng.standard_normal((shape.items, FACTORS)) / FACTORS**0.5
    product = np.einsum("rf,rf->r", user_factors[user], item_factors[item])
    noise = rng.standard_normal(shape.rows)
    return user_bias[user] + item_bias[item] + 0.6 * product + 0.5 * noise


def _stars(appeal: np.ndarray) -> np.ndarray:
    """Cut appeal into 1 to 5 stars, as often as MovieLens gives each."""
    steps = np.quantile(appeal, np.cumsum(STARS)[:-1])
    return np.searchsorted(steps, appeal) + 1


def _schema() -> pa.Schema:
    types = (pa.int32(), pa.int32(), pa.int32(), pa.int64())
    return pa.schema(list(zip(COLUMNS, types, strict=True)))
