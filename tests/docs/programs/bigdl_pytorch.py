"""A program of BigDL 2.4: PyTorch with Orca's callbacks and metrics, and a model to take along."""

import torch
from bigdl.orca import OrcaContext, init_orca_context, stop_orca_context
from bigdl.orca.learn.metrics import Accuracy, F1Score
from bigdl.orca.learn.pytorch import Estimator
from bigdl.orca.learn.pytorch.callbacks.base import Callback
from bigdl.orca.learn.pytorch.callbacks.maxsteps import MaxstepsCallback
from bigdl.orca.learn.pytorch.callbacks.model_checkpoint import ModelCheckpoint
from bigdl.orca.learn.pytorch.pytorch_metrics import MSE
from torch import nn

init_orca_context(cluster_mode="local", cores=4, memory="2g")
spark = OrcaContext.get_spark_session()
df = spark.range(0, 120).selectExpr("float(rand(1)) as a", "float(rand(2)) as b", "id % 3 as kind")
train, val = df.limit(100), df.limit(40)


class Kinds(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, a, b):
        return self.layers(torch.stack([a, b], dim=1))


class Notes(Callback):
    def after_train_epoch(self, runner):
        print(runner.epochs, runner.epoch_stats)


def optimizer_creator(model, config):
    return torch.optim.Adam(model.parameters(), lr=config["lr"])


est = Estimator.from_torch(
    model=lambda config: Kinds(),
    optimizer=optimizer_creator,
    loss=nn.CrossEntropyLoss(),
    metrics=[Accuracy(), F1Score(average="macro")],
    config={"lr": 0.01},
    backend="spark",
    workers_per_node=2,
)
columns = {"feature_cols": ["a", "b"], "label_cols": ["kind"]}
callbacks = [Notes(), ModelCheckpoint(filepath="test-{epoch}.ckpt", by_epoch=False, interval=5)]
stats = est.fit(
    train,
    epochs=2,
    batch_size=20,
    validation_data=val,
    callbacks=[*callbacks, MaxstepsCallback(max_step=8)],
    verbose=0,
    **columns,
)
for epoch_stats in stats:
    for name, value in epoch_stats.items():
        print(name, value)
assert [epoch["num_samples"] for epoch in stats] == [100, 60]
result = est.evaluate(val, batch_size=20, verbose=0, **columns)
print(result["Accuracy"], result["F1Score"], result["val_loss"], result["num_samples"])
est.load_checkpoint(est.latest_checkpoint("."))
est.save_checkpoint("last.ckpt")
est.save("entire.pt", entire=True)

est = Estimator.from_torch(loss=nn.CrossEntropyLoss(), metrics=[Accuracy()], workers_per_node=2)
est.load("entire.pt")
same = est.evaluate(val, batch_size=20, verbose=0, **columns)
assert same["num_samples"] == 40
print(est.predict(val, feature_cols=["a", "b"]).first()["prediction"])

metric = MSE()
metric(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
assert metric.compute() == 2.0
est.shutdown()
stop_orca_context()
