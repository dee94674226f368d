"""Stages written and read: in this process, and whole pipelines in a new one."""

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import functions as F
from torch import nn

from tests.ml.models import classifier, keras_classes, torch_classes
from zoo.orca.errors import InvalidInputError, MissingPackageError, StateError
from zoo.orca.ml import KerasClassifier, KerasClassifierModel, TorchClassifier, TorchClassifierModel
from zoo.orca.ml.persistence import _sorted_out

pytestmark = [pytest.mark.timeout(300)]


def predictions(model, table):
    rows = model.transform(table).orderBy("id").select("prediction", "probability").collect()
    return [[row.prediction, *row.probability.toArray().tolist()] for row in rows]


def searched(stage):
    """Six fits: three grid points, two folds, by a key of config and by epochs."""
    grid = ParamGridBuilder().addGrid(stage.configParam("lr"), [0.5, 0.1]).build()
    grid += ParamGridBuilder().addGrid(stage.epochs, [3]).build()
    evaluator = MulticlassClassificationEvaluator(labelCol="kind", metricName="logLoss")
    return CrossValidator(
        estimator=stage, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1
    )


@pytest.mark.classic("its program starts a session of its own")
@pytest.mark.slow
def test_a_new_process_reads_pipelines_and_searches(table, tmp_path):
    words = table.withColumn("word", F.concat(F.lit("w"), F.col("kind").cast("int")))
    words.write.parquet(f"{tmp_path}/table")
    words = table.sparkSession.read.parquet(f"{tmp_path}/table")
    indexer = StringIndexer(inputCol="word", outputCol="kind_index")
    stage = classifier("torch", labelCol="kind_index", fitParams={"clip_grad_norm": 1.0})
    pipeline = Pipeline(stages=[indexer, stage])
    pipeline.write().overwrite().save(f"{tmp_path}/pipeline")
    model = pipeline.fit(words)
    model.write().overwrite().save(f"{tmp_path}/pipeline_model")
    model.write().overwrite().save(f"{tmp_path}/pipeline_model")
    search = searched(classifier("torch", numWorkers=1, epochs=1))
    search.write().overwrite().save(f"{tmp_path}/search")
    found = search.fit(words)
    found.write().overwrite().save(f"{tmp_path}/found")
    done = subprocess.run(
        [sys.executable, "-m", "tests.ml.stored_program", str(tmp_path)],
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    last = model.stages[-1]
    assert seen["uid"] == last.uid and seen["history"] == last.summary.history
    assert seen["params"] == {
        param.name: repr(last.getOrDefault(param))
        for param in last.params
        if last.isDefined(param) and param.name not in last._code
    }
    assert len(seen["told"]) == 1
    assert "TorchClassifierModel.load(path, modelCreator=...)" in seen["told"][0]
    for name, one in (("pipeline_model", model), ("pipeline", model), ("found", found)):
        np.testing.assert_allclose(seen[name], predictions(one, words), rtol=1e-5, atol=1e-6)
    assert seen["metrics"] == pytest.approx([float(one) for one in found.avgMetrics])
    assert seen["metrics_again"] == pytest.approx(seen["metrics"], rel=1e-5)
    assert seen["grid"] == [{"config.lr": 0.5}, {"config.lr": 0.1}, {"epochs": 3}]
    assert np.max(np.abs(np.subtract(seen["going_on"], seen["pipeline_model"]))) > 1e-3


class Explosive:
    """A creator that must never be unpickled."""

    def __call__(self, config):
        return torch_classes(config)

    def __reduce__(self):
        return exec, ("raise AssertionError('it was unpickled')",)


@pytest.mark.slow
def test_a_reader_with_a_creator_unpickles_nothing(table, tmp_path, caplog):
    model = classifier("torch", epochs=1).fit(table)
    expected = predictions(model, table)
    model.setModelCreator(Explosive()).save(f"{tmp_path}/model")
    with pytest.raises(AssertionError, match="it was unpickled"):
        TorchClassifierModel.load(f"{tmp_path}/model")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = TorchClassifierModel.load(f"{tmp_path}/model", modelCreator=torch_classes)
    assert "nothing is unpickled: ['loss', 'optimizer']" in caplog.text
    assert predictions(found, table) == expected
    assert found.getOutputScale() == "logits" and found.getLoss() is None
    read = TorchClassifierModel.read(modelCreator=torch_classes).load(f"{tmp_path}/model")
    assert predictions(read, table) == expected


@pytest.mark.slow
def test_a_keras_model_keeps_its_backend(table, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    model = KerasClassifier(
        modelCreator=keras_classes, labelCol="kind", epochs=1, config={"logits": True}
    ).fit(table)
    model.write().overwrite().save(f"{tmp_path}/model")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    found = KerasClassifierModel.load(f"{tmp_path}/model", modelCreator=keras_classes)
    assert found.getBackend() == "jax" and found.getOutputScale() == "logits"
    assert predictions(found, table) == predictions(model, table)
    assert found.summary == model.summary and found.numClasses == 3
    state, again = model.estimator._state, found.estimator._state
    assert list(state.tensors) == list(again.tensors)
    for name, tensor in state.tensors.items():
        np.testing.assert_array_equal(tensor, again.tensors[name])


def test_files_that_are_in_the_way_stay(spark, tmp_path):
    stage = classifier("torch")
    stage.save(f"{tmp_path}/stage")
    with pytest.raises(InvalidInputError, match=r"is there already\n.*overwrite"):
        stage.save(f"{tmp_path}/stage")
    stage.write().overwrite().save(f"{tmp_path}/stage")
    with pytest.raises(StateError, match="there is no stage in .*\nName the directory"):
        TorchClassifier.load(f"{tmp_path}/other")
    with pytest.raises(StateError, match=r"holds a .*TorchClassifier, and not a .*Keras"):
        KerasClassifier.load(f"{tmp_path}/stage")
    with pytest.raises(InvalidInputError, match=r"'epochs' is no parameter that may be code\n"):
        TorchClassifier.load(f"{tmp_path}/stage", epochs=3)


def test_weights_that_are_damaged_are_not_used(table, tmp_path):
    model = classifier("torch", epochs=1).fit(table)
    model.save(f"{tmp_path}/model")
    spark = table.sparkSession
    weights = spark.read.parquet(f"{tmp_path}/model/weights").collect()
    assert [row.piece for row in weights] == [0]
    data = bytearray(weights[0].data)
    data[-1] ^= 1
    frame = spark.createDataFrame([(0, data)], "piece int, data binary")
    frame.write.mode("overwrite").parquet(f"{tmp_path}/model/weights")
    with pytest.raises(StateError, match="its weights are not those that were written\n"):
        TorchClassifierModel.load(f"{tmp_path}/model", modelCreator=torch_classes)
    for damage in (_scribbled, shutil.rmtree):
        damage(tmp_path / "model" / "weights")
        with pytest.raises(StateError, match="damaged: its weights cannot be read: .*\nRead anot"):
            TorchClassifierModel.load(f"{tmp_path}/model", modelCreator=torch_classes)


@pytest.mark.parametrize(
    ("part", "told"), [("metadata", "its metadata cannot be read"), ("code", "modelCreator cannot")]
)
def test_a_stage_that_is_damaged_is_told_so(spark, tmp_path, part, told):
    TorchClassifier(modelCreator=torch_classes).save(f"{tmp_path}/stage")
    _scribbled(tmp_path / "stage" / part)
    with pytest.raises(StateError, match=f"stage is damaged: {told}.*\nRead another copy"):
        TorchClassifier.load(f"{tmp_path}/stage")


def _scribbled(directory):
    """Write something else into each file of a directory; its checksums go."""
    for path in directory.glob(".*.crc"):
        path.unlink()
    for path in directory.glob("part-*"):
        path.write_bytes(b"{" * 100)


def test_weights_of_many_pieces(table, tmp_path, monkeypatch):
    from zoo.orca.ml import persistence

    monkeypatch.setattr(persistence, "_PIECE", 100)
    model = classifier("torch", epochs=1).fit(table)
    model.save(f"{tmp_path}/model")
    assert table.sparkSession.read.parquet(f"{tmp_path}/model/weights").count() > 16
    found = TorchClassifierModel.load(f"{tmp_path}/model", modelCreator=torch_classes)
    assert predictions(found, table) == predictions(model, table)


def test_only_what_nothing_else_can_write_is_pickled():
    """JSON would make strings of whole keys, and lists of tuples."""
    stage = TorchClassifier(
        config={"lr": np.float64(0.5), "rates": (1, 2)},
        fitParams={"class_weight": {0: 1.0, 1: np.int64(2)}},
        estimatorParams={"model_dir": "here"},
        loss=nn.CrossEntropyLoss(),
    )
    stage._set(**{"config.units": np.int64(3)})
    plain, literals, code = _sorted_out(stage)
    assert plain == {"estimatorParams": {"model_dir": "here"}, "config.units": 3}
    assert literals == {
        "config": "{'lr': 0.5, 'rates': (1, 2)}",
        "fitParams": "{'class_weight': {0: 1.0, 1: 2}}",
    }
    assert list(code) == ["loss"]


def test_a_dict_with_code_that_makes_the_model_must_be_given(spark, tmp_path):
    stage = TorchClassifier(modelCreator=torch_classes, config={"act": nn.Tanh()})
    stage.save(f"{tmp_path}/stage")
    with pytest.raises(StateError, match=r"holds config as a pickle.*\n.*config=...\)"):
        TorchClassifier.load(f"{tmp_path}/stage", modelCreator=torch_classes)
    found = TorchClassifier.load(f"{tmp_path}/stage", modelCreator=torch_classes, config={})
    assert found.getConfig() == {} and found.uid == stage.uid


def test_what_stays_as_it_was(spark, tmp_path):
    """Parameters, those of one key, and defaults."""
    stage = KerasClassifier(
        modelCreator=keras_classes,
        featuresCol=["a", "b"],
        fitParams={"class_weight": {0: 1.0, 1: 3.0}},
        seed=5,
        backend="torch",
    )
    stage = stage.copy({stage.configParam("lr"): 0.25})
    stage.save(f"{tmp_path}/stage")
    found = KerasClassifier.load(f"{tmp_path}/stage")
    assert found.getModelCreator().__name__ == "keras_classes"

    def plain(one):
        return {p: value for p, value in one._paramMap.items() if p.name not in stage._code}

    assert plain(found) == plain(stage)
    assert found._defaultParamMap == stage._defaultParamMap and found.getConfig() == {"lr": 0.25}


def test_a_package_that_a_pickle_needs_is_named(spark, tmp_path, monkeypatch):
    from zoo.orca.ml import persistence

    stage = classifier("torch")
    stage.save(f"{tmp_path}/stage")

    def missing(data):
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setattr(persistence, "unpack", missing)
    with pytest.raises(MissingPackageError, match=r"a module is missing here: No module.*\n"):
        TorchClassifier.load(f"{tmp_path}/stage")


def test_a_file_holds_no_pickle_of_weights(table, tmp_path):
    """The bytes are those of a safetensors file, which `Estimator.load` reads."""
    from safetensors.numpy import load

    model = classifier("torch", epochs=1).fit(table)
    model.save(f"{tmp_path}/model")
    rows = table.sparkSession.read.parquet(f"{tmp_path}/model/weights").collect()
    tensors = load(b"".join(bytes(row.data) for row in sorted(rows)))
    for name, tensor in model.estimator._state.tensors.items():
        np.testing.assert_array_equal(tensors[name], tensor)
    code = table.sparkSession.read.parquet(f"{tmp_path}/model/code").collect()
    assert {row.name for row in code} == {"modelCreator", "loss", "optimizer"}
    assert callable(pickle.loads(next(row.data for row in code if row.name == "modelCreator")))
