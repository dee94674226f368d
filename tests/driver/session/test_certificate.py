"""The certificate of an encrypted job, and the job that has it."""

import datetime
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.driver.session.test_settings import Session
from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.reports import listener
from zoo.orca.driver.session.certificate import make_identity
from zoo.orca.errors import MissingPackageError

pytestmark = pytest.mark.timeout(120)

ORCA = "spark.orca.encryption"


def test_each_job_has_a_certificate_of_its_own_that_no_clock_ends() -> None:
    from cryptography import x509

    session = Session(spark_orca_encryption="true")
    first, second = make_identity(session), make_identity(session)
    assert first != second and first.count("-----BEGIN PRIVATE KEY-----") == 1
    made = [x509.load_pem_x509_certificate(text.encode()) for text in (first, second)]
    assert made[0].public_key() != made[1].public_key()
    assert made[0].not_valid_before_utc < datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    assert made[0].not_valid_after_utc.year == 9999
    assert make_identity(Session()) == ""


def without_cryptography(name: str, *arguments: Any) -> Any:
    return None if name == "cryptography" else _find_spec(name, *arguments)


_find_spec = importlib.util.find_spec


def test_without_the_package_a_job_that_must_be_encrypted_does_not_start(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", without_cryptography)
    began: list[Any] = []
    frame = spark.createDataFrame([(1.0, 2.0)], "x double, y double")
    spark.conf.set(ORCA, "true")
    try:
        with monkeypatch.context() as patch, pytest.raises(MissingPackageError) as caught:
            patch.setattr(listener.ReportListener, "__enter__", began.append)
            FakeEstimator.of(linear(1)).fit(frame)
        cause, way = str(caught.value).splitlines()
        assert cause.startswith(f"{ORCA}=true encrypts") and "'cryptography'" in cause
        assert not began
        key, value = re.search(r"set (\S+)=(\w+)$", way).groups()  # type: ignore[union-attr]
        spark.conf.set(key, value)
        FakeEstimator.of(linear(1)).fit(frame)
    finally:
        spark.conf.unset(ORCA)
    # The other way out is an extra that brings the package.
    install = re.match(r"Install it: (\S+) -m pip install 'zoo-orca\[(\w+)\]'", way)
    assert install is not None and install[1] == sys.executable
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert "cryptography" in project["project"]["optional-dependencies"][install[2]]


def test_the_error_names_the_setting_of_sparks_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", without_cryptography)
    with pytest.raises(MissingPackageError, match="^spark.network.crypto.enabled=true encrypts"):
        make_identity(Session(spark_network_crypto_enabled="true"))
    quiet = Session(spark_network_crypto_enabled="true", spark_orca_encryption="false")
    assert make_identity(quiet) == ""


def test_an_encrypted_fit_equals_one_in_clear_bit_for_bit(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = spark.range(60).selectExpr("rand(1) - 0.5 as x", "rand(2) as y").cache()
    opened: list[bool] = []
    real = listener.open_line

    def noted(connection: Any, contexts: Any, **options: Any) -> Any:
        opened.append(contexts is not None)
        return real(connection, contexts, **options)

    monkeypatch.setattr(listener, "open_line", noted)
    results = {}
    for encrypted in ("false", "true"):
        spark.conf.set(ORCA, encrypted)
        try:
            estimator = FakeEstimator.of(links_are_encrypted(encrypted == "true"), 2)
            stats = estimator.fit(rows, epochs=3, batch_size=7)
            results[encrypted] = (estimator.weights.tobytes(), stats.history["loss"])
        finally:
            spark.conf.unset(ORCA)
    assert results["true"] == results["false"]
    assert opened == [False] * 2 + [True] * 2


def links_are_encrypted(expected: bool) -> Any:
    """A model that looks, in each step, at the connections of its worker."""

    def look(rank: int, step: int) -> None:
        import gc

        from zoo.orca.worker.collective.encrypted import EncryptedLink
        from zoo.orca.worker.collective.ring import Ring

        gc.unfreeze()
        gc.collect()  # the ring of the child's job before may not have gone yet
        rings = [one for one in gc.get_objects() if isinstance(one, Ring)]
        kinds = {isinstance(link, EncryptedLink) for ring in rings for link in ring._links}
        if kinds != {expected}:
            raise ValueError(f"{kinds} in {rings}")

    return linear(1, on_step=look)
