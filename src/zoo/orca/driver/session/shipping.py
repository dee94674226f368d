"""Sends this package to executors that lack it: they need only the framework."""

import hashlib
import shutil
import sys
import tempfile
import threading
import weakref
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import cloudpickle
from pyspark.sql import SparkSession

import zoo.orca
from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.driver.session.pythons import is_own_python

if TYPE_CHECKING:
    from pyspark import SparkContext

#: Owners that have the package. In classic Spark a context has it for all its sessions, and refuses
#: it from a second one. Within ``foreachBatch`` every batch has its own session.
_shipped: "WeakSet[SparkSession | SparkContext]" = WeakSet()
_shipping = threading.Lock()


def ship_package(spark: SparkSession) -> None:
    """Make `zoo.orca` importable on the executors, once per context or Connect session."""
    if is_own_python(spark) or not Path(zoo.orca.__file__).is_file():
        return  # there already; in the last case the package itself runs from a shipped zip
    owner = spark if is_connect(spark) else spark.sparkContext
    # A second thread must not go on before the package is there.
    with _shipping:
        if owner not in _shipped:
            directory = tempfile.mkdtemp(prefix="orca-ship-")
            # Spark's file server reads the zip as long as the owner lives.
            weakref.finalize(owner, shutil.rmtree, directory, ignore_errors=True)
            spark.addArtifacts(str(build_zip(Path(directory))), pyfile=True)
            _shipped.add(owner)


def way_to_ship(module: str) -> str:
    """Say how to send a module of the user to the workers."""
    path = getattr(sys.modules.get(module), "__file__", None) or f"{module}.py"
    if Path(path).name == "__init__.py":
        path = f"{module}.zip"
    return f"spark.addArtifacts({path!r}, pyfile=True), or spark.submit.pyFiles"


def build_zip(directory: Path) -> Path:
    """Write a zip of `zoo` and `cloudpickle`, which unpickles the creators; return its path.

    The name has a hash of the content, so that two versions in one cluster do not mix.
    """
    roots = [Path(zoo.orca.__file__).parents[1], Path(cloudpickle.__file__).parent]
    files = [
        (path, f"{root.name}/{path.relative_to(root).as_posix()}")
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    ]
    digest = hashlib.sha256()
    for path, name in files:
        digest.update(name.encode() + path.read_bytes())
    target = directory / f"zoo_orca_{digest.hexdigest()[:16]}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, name in files:
            archive.write(path, name)
    return target
