"""A program of BigDL 2.4: trains in one place; elsewhere loads the file, resumes and predicts."""

from bigdl.orca import OrcaContext, init_orca_context, stop_orca_context
from bigdl.orca.learn.tf2 import Estimator

sc = init_orca_context(cluster_mode="local", cores=4, memory="2g")
spark = OrcaContext.get_spark_session()
df = spark.range(0, 160).selectExpr(
    "array(float(rand(1)), float(rand(2)), float(rand(3))) as x", "float(rand(4)) as y"
)


def creator(config):
    from tensorflow import keras

    model = keras.Sequential()
    model.add(keras.layers.Dense(6, activation="relu", input_shape=(3,)))
    model.add(keras.layers.Dense(1))
    model.compile(optimizer="rmsprop", loss="mse", metrics=["mae"])
    return model


def callbacks():
    from tensorflow import keras

    return [keras.callbacks.ModelCheckpoint("weights/{epoch}.h5", save_weights_only=False)]


est = Estimator.from_keras(
    model_creator=creator, workers_per_node=2, backend="spark", model_dir="run"
)
est.fit(
    df,
    epochs=2,
    batch_size=40,
    feature_cols=["x"],
    label_cols=["y"],
    callbacks=callbacks(),
    verbose=0,
)
est.save("model", save_format="tf")
est.save("model.h5", overwrite=True, include_optimizer=True, save_format="h5")
est.save_weights("only", overwrite=True, save_format="tf")

est = Estimator.from_keras(workers_per_node=2, backend="spark")
est.load("model")
est.load_weights("only", by_name=False)
stats = est.fit(df, epochs=1, batch_size=40, feature_cols=["x"], label_cols=["y"], verbose=0)
print(stats["train_loss"])
result = est.evaluate(df, batch_size=40, feature_cols=["x"], label_cols=["y"], verbose=0)
print(result["validation_loss"])

est = Estimator.from_keras(backend="spark")
est.load(est.latest_checkpoint("weights"), custom_objects=None, compile=True)
predicted = est.predict(df, batch_size=40, feature_cols=["x"], output_cols=["guess"])
print(predicted.columns, predicted.first()["guess"])
model = est.get_model(sample_input=None, set_weights=True)
model.summary()
est.shutdown()
stop_orca_context()
