"""A program of Analytics Zoo: a PyTorch model, its results by epoch, and its metrics."""

import torch
from torch import nn

from zoo.common.nncontext import init_nncontext
from zoo.orca import OrcaContext, stop_orca_context
from zoo.orca.learn.metrics import Accuracy
from zoo.orca.learn.pytorch import Estimator, TrainingOperator
from zoo.orca.learn.trigger import EveryEpoch

sc = init_nncontext()
spark = OrcaContext.get_spark_session()
df = spark.range(0, 120).selectExpr(
    "array(float(rand(1)), float(rand(2))) as feature", "float(id % 2) as label"
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(2, 5)
        self.out = nn.Linear(5, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, feature):
        return self.sigmoid(self.out(torch.relu(self.hidden(feature)))).flatten()


class Counting(TrainingOperator):
    def train_batch(self, batch, batch_info):
        return super().train_batch(batch, batch_info)


def model_creator(config):
    return Net()


def optimizer_creator(model, config):
    return torch.optim.SGD(model.parameters(), lr=config.get("lr", 0.01))


est = Estimator.from_torch(
    model=model_creator,
    optimizer=optimizer_creator,
    loss=nn.BCELoss(),
    metrics=[Accuracy()],
    training_operator_cls=Counting,
    config={"lr": 0.1},
    workers_per_node=2,
    model_dir="checkpoints",
    backend="torch_distributed",
)
stats = est.fit(
    df,
    epochs=2,
    batch_size=20,
    feature_cols=["feature"],
    label_cols=["label"],
    checkpoint_trigger=EveryEpoch(),
    verbose=0,
)
for epoch in stats:
    for name, value in epoch.items():
        print(name, value)
assert [epoch["num_samples"] for epoch in stats] == [120, 120]
result = est.evaluate(df, batch_size=20, feature_cols=["feature"], label_cols=["label"], verbose=0)
print(result["val_loss"], result["Accuracy"], result["num_samples"])
est.save("model.pt")
est.load("model.pt")
model = est.get_model()
assert isinstance(model, Net)
predicted = est.predict(df, batch_size=20, feature_cols=["feature"])
print(predicted.select("prediction").first())
est.load(Estimator.latest_checkpoint("checkpoints"))
est.shutdown()
stop_orca_context()
