"""What Spark ML's stages ask of a model's output, and what they refuse."""

import pytest
from pyspark.sql import functions as F

from zoo.orca.errors import ColumnError, InvalidInputError, ModelError
from zoo.orca.ml.predictions import AsClasses, AsNumber, check_new, known_scale, only_output
from zoo.orca.wire.outputs import OutputSpec, Scale
from zoo.orca.wire.predicting.column_forms import ColumnKind


def output(*shape, scale=None, name="output_0", dtype="float32"):
    return OutputSpec(name=name, dtype=dtype, row_shape=shape, scale=scale)


def test_classes_come_with_what_the_models_numbers_are():
    (form,) = AsClasses(None, "stage").forms([output(3, scale=Scale.PROBABILITIES)], True)
    assert (form.kind, form.scale) == (ColumnKind.CLASSES, Scale.PROBABILITIES)
    (form,) = AsClasses(Scale.LOGITS, "stage").forms([output()], True)
    assert form.scale is Scale.LOGITS


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_regressors_number(shape):
    (form,) = AsNumber("stage").forms([output(*shape)], True)
    assert form.kind is ColumnKind.SCALAR
    with pytest.raises(ModelError, match="has 3 numbers, and a prediction is one\n.*batch, 1"):
        AsNumber("KerasRegressorModel").forms([output(3)], True)


def test_what_no_stage_gives_is_refused():
    with pytest.raises(ModelError, match=r"has 2 outputs \['a', 'b'\].*\n.*predict"):
        only_output([output(3, name="a"), output(3, name="b")], "KerasClassifierModel")
    with pytest.raises(ModelError, match=r"the shape \(3, 4\)\n"):
        only_output([output(3, 4)], "KerasClassifierModel")
    with pytest.raises(ModelError, match="output 'output_0' is text.*\n.*numbers"):
        only_output([output(dtype="string")], "KerasRegressorModel")


def test_the_scale_is_the_losss_unless_the_stage_says_it():
    assert known_scale(None, output(3, scale="logits"), "stage") == "logits"
    assert known_scale("probabilities", output(3, scale="logits"), "stage") == "probabilities"
    with pytest.raises(InvalidInputError, match="does not say.*\n.*setOutputScale.'logits'."):
        known_scale(None, output(3), "stage")
    with pytest.raises(InvalidInputError, match="has one number a row\n"):
        known_scale(Scale.LOGARITHMS, output(1), "stage")


def test_columns_that_are_there_are_refused(spark):
    frame = spark.range(1).withColumn("Prediction", F.lit(1.0))
    with pytest.raises(ColumnError, match="already has a column 'prediction'\n.*setPredictionCol"):
        check_new(frame, {"predictionCol": "prediction"})
    with pytest.raises(ColumnError, match="probabilityCol"):
        check_new(frame, {"rawPredictionCol": "p", "probabilityCol": "P"})
    check_new(frame, {"predictionCol": "other"})
