"""What the texts of CSV files mean: types and missing values as pandas makes them, by Spark."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from zoo.orca.data.pandas.paths import read_by

#: Texts that pandas reads as missing values (``na_values`` of its ``read_csv``).
MISSING = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
)
#: Spark's casts would also take texts such as "1d" for numbers, and "t" for a truth.
_WHOLE = r"^\s*[+-]?[0-9]+\s*$"
_NUMBER = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$|^\s*[+-]?(?i:inf(inity)?)\s*$"
_TRUTH = r"^(?i:true|false)$"


def breaks_lines(spark: SparkSession, paths: Sequence[str], quote: str) -> bool:
    """Return whether a line of the files may end within quotes.

    Only then must Spark read each file as a whole. Others are cut.
    """
    marks = F.length("value") - F.length(F.replace("value", F.lit(quote), F.lit("")))
    found: bool = read_by(
        spark, paths, lambda given: not spark.read.text(given).where(marks % 2 == 1).isEmpty()
    )
    return found


def without_missing(df: DataFrame) -> DataFrame:
    """Return columns of text with nulls where pandas sees a missing value."""
    columns = {name: F.col(name) for name in df.columns}
    return df.select(
        *(F.when(~one.isin(*MISSING), one).alias(name) for name, one in columns.items())
    )


def typed(df: DataFrame, names: Sequence[str]) -> DataFrame:
    """Return columns of text in the types that their texts have, found in one pass over the rows.

    Parameters
    ----------
    df : DataFrame
        Columns of text, with nulls for missing values.
    names : sequence of str
        Those that may become numbers or truths.
    """
    tests = {}
    for name in names:
        text = F.col(name)
        tests[f"{name} any"] = F.count(text) > 0
        tests[f"{name} whole"] = F.every(text.rlike(_WHOLE))
        tests[f"{name} fits"] = F.every(text.try_cast("bigint").isNotNull() | text.isNull())
        tests[f"{name} number"] = F.every(text.rlike(_NUMBER))
        tests[f"{name} truth"] = F.every(text.rlike(_TRUTH))
    if not tests:
        return df
    (found,) = df.agg(*(test.alias(name) for name, test in tests.items())).collect()
    return df.withColumns({name: F.col(name).cast(_type(found, name)) for name in names})


def _type(found: Row, name: str) -> str:
    """Return the type that pandas gives a column. One without any value is of floats there."""
    if not found[f"{name} any"]:
        return "double"
    if found[f"{name} whole"]:
        return "bigint" if found[f"{name} fits"] else "string"
    if found[f"{name} number"]:
        return "double"
    return "boolean" if found[f"{name} truth"] else "string"
