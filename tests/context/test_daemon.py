"""The daemon of Spark's Python workers imports an installed pyspark, and else Spark's zip."""

from pathlib import Path

from zoo.orca.context.daemon import installed_first


def test_zips_within_an_installed_pyspark_come_last(tmp_path: Path) -> None:
    home = tmp_path / "pyspark"
    (home / "python" / "lib").mkdir(parents=True)
    (home / "daemon.py").touch()
    zips = [str(home / "python" / "lib" / name) for name in ("pyspark.zip", "py4j-src.zip")]
    assert installed_first([*zips, "/mine", str(tmp_path)]) == ["/mine", str(tmp_path), *zips]
    # The package is not on the path, or there is none, as in a Spark that was unpacked.
    assert installed_first([*zips, "/mine"]) == [*zips, "/mine"]
    (home / "daemon.py").unlink()
    assert installed_first([*zips, str(tmp_path)]) == [*zips, str(tmp_path)]
    other = ["/spark/python/lib/pyspark.zip", "/mine/things.zip", str(tmp_path)]
    assert installed_first(other) == other
