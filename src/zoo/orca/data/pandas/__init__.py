"""Files as an XShards of pandas frames, read with pandas's arguments."""

from zoo.orca.data.pandas.preprocessing import read_csv, read_json, read_parquet

__all__ = ["read_csv", "read_json", "read_parquet"]
