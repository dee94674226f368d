"""A program of Analytics Zoo: a Keras model of three columns, trained, evaluated and saved."""

import os

from pyspark.sql.functions import col, rand

from zoo.orca import OrcaContext, init_orca_context, stop_orca_context
from zoo.orca.learn.tf2.estimator import Estimator

sc = init_orca_context(cluster_mode="local", cores=4, memory="2g")
spark = OrcaContext.get_spark_session()

df = spark.range(0, 200).select((rand(1) * 10).cast("int").alias("age"), rand(2).alias("income"))
df = df.withColumn("label", (col("income") * 4).cast("int"))
train, test = df.randomSplit([0.8, 0.2], seed=100)


def model_creator(config):
    import tensorflow as tf

    age = tf.keras.layers.Input(shape=(1,), name="age")
    income = tf.keras.layers.Input(shape=(1,), name="income")
    both = tf.keras.layers.concatenate([age, income])
    hidden = tf.keras.layers.Dense(8, activation="relu")(both)
    output = tf.keras.layers.Dense(4, activation="softmax")(hidden)
    model = tf.keras.models.Model(inputs=[age, income], outputs=output)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(learning_rate=config["lr"]),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


batch_size = 40
est = Estimator.from_keras(
    model_creator=model_creator, config={"lr": 1e-2}, workers_per_node=2, backend="tf2"
)
stats = est.fit(
    train,
    epochs=2,
    batch_size=batch_size,
    steps_per_epoch=train.count() // batch_size,
    validation_data=test,
    validation_steps=1,
    feature_cols=["age", "income"],
    label_cols=["label"],
    verbose=0,
)
print("loss", stats["train_loss"], stats[0]["train_val_accuracy"])
result = est.evaluate(
    test,
    batch_size=batch_size,
    num_steps=1,
    feature_cols=["age", "income"],
    label_cols=["label"],
    verbose=0,
)
for name, value in result.items():
    print(name, value)
prediction = est.predict(test, batch_size=batch_size, feature_cols=["age", "income"])
prediction.select("label", "prediction").show(3)

path = os.path.join("saved", "age.ckpt")
est.save(path)
est.load(path)
model = est.get_model()
print(model.count_params(), "parameters")
est.shutdown()
stop_orca_context()
