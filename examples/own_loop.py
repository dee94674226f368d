"""Training loops of one's own on Spark's rows: Lightning, Hugging Face's Trainer, Flax and Optax.

Each function below runs on every worker, and none of them knows how many there are: the trained
weights are those of one worker, up to the order in which floats are added.

    python examples/own_loop.py --loop lightning --workers 2
"""

import argparse
import sys
from typing import Any

LOOPS = ("lightning", "hugging_face", "flax")
BATCH_SIZE = 16
#: What `feature_cols` and `label_cols` of each loop are.
COLUMNS = {
    "lightning": {"feature_cols": "x", "label_cols": "y"},
    "hugging_face": {"feature_cols": "input_ids", "label_cols": "labels"},
    "flax": {"feature_cols": "x", "label_cols": "y"},
}


def lightning(worker: Any, epochs: int) -> dict[str, Any]:
    """Train a perceptron with Lightning's `Trainer`, whose strategy is its own."""
    import lightning as pl
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    class Regression(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

        def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
            errors = self.layers(batch["x"]).squeeze(-1) - batch["y"]
            # The mean over all workers' rows, also in a last step of unequal shares.
            loss = (errors**2).sum() * worker.size / batch["of"]
            worker.report(
                self.global_step + 1, self.trainer.estimated_stepping_batches, loss=loss.detach()
            )
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    torch.manual_seed(0)
    model = Regression()
    steps = worker.rows.torch_dataset(BATCH_SIZE, of="of")
    with worker.torch_distributed():
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="auto",
            strategy="ddp",
            devices=1,
            num_nodes=worker.size,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, DataLoader(steps, batch_size=None))
    return {name: value.cpu() for name, value in model.state_dict().items()}


def hugging_face(worker: Any, epochs: int) -> dict[str, Any]:
    """Train a small BERT, made from a configuration, with Hugging Face's `Trainer`."""
    import tempfile

    from torch.utils.data import DataLoader
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    class RowsTrainer(Trainer):
        def get_train_dataloader(self) -> DataLoader:
            # The rows are dealt out already: no sampler of Trainer's may do so again.
            return DataLoader(worker.rows.torch_dataset(BATCH_SIZE), batch_size=None)

    set_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=32,
        intermediate_size=16,
        max_position_embeddings=8,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **shape,
    )
    model = BertForSequenceClassification(config)
    with worker.torch_distributed(), tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            output_dir=directory,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH_SIZE // worker.size,
            learning_rate=1e-3,
            # Else Trainer multiplies the loss by the number of workers where the model takes any
            # keyword, and this model's loss is a mean already.
            average_tokens_across_devices=False,
            ddp_find_unused_parameters=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        RowsTrainer(model, arguments).train()
    return {name: value.cpu() for name, value in model.state_dict().items()}


def flax(worker: Any, epochs: int) -> dict[str, Any]:
    """Train a perceptron of Flax with Optax; `worker.all_reduce` sums the gradients."""
    import jax
    import optax
    from flax import linen as nn

    class Perceptron(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.Dense(1)(nn.tanh(nn.Dense(8)(x)))[:, 0]

    model, optimizer = Perceptron(), optax.adam(0.01)
    weights = model.init(jax.random.key(0), jax.numpy.zeros((1, 4)))
    state = optimizer.init(weights)

    @jax.jit
    def gradients(weights: Any, x: jax.Array, y: jax.Array) -> Any:
        return jax.value_and_grad(lambda w: ((model.apply(w, x) - y) ** 2).mean())(weights)

    @jax.jit
    def updated(weights: Any, state: Any, found: Any) -> Any:
        updates, state = optimizer.update(found, state)
        return optax.apply_updates(weights, updates), state

    done = 0
    for epoch in range(epochs):
        for batch in worker.rows.batches(BATCH_SIZE, epoch):
            found = gradients(weights, batch["x"], batch["y"])
            # Loss and gradients of the mean over all workers' rows.
            loss, found = worker.all_reduce(found, weight=batch.rows)
            weights, state = updated(weights, state, found)
            done += 1
            worker.report(done, epochs * worker.rows.steps(BATCH_SIZE), loss=loss)
    return weights


def make_rows(spark: Any, count: int) -> Any:
    """Return rows for all of the loops."""
    from pyspark.sql import functions as F

    frame = spark.range(count)
    numbers = [F.rand(seed).cast("float") for seed in range(1, 5)]
    tokens = [(F.rand(10 + seed) * 32).cast("long") for seed in range(6)]
    frame = frame.select(F.array(*numbers).alias("x"), F.array(*tokens).alias("input_ids"))
    frame = frame.withColumn("y", F.col("x")[0] * F.col("x")[1] - F.col("x")[2])
    return frame.withColumn("labels", (F.col("input_ids")[0] > 15).cast("long")).cache()


def main() -> None:
    """Train, and show what came of it."""
    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context
    from zoo.orca.learn import Distributor

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loop", choices=LOOPS, default="lightning")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    init_orca_context("local", cores=max(given.workers, 2))
    try:
        rows = make_rows(OrcaContext.get_spark_session(), given.rows)
        loop = getattr(sys.modules[__name__], given.loop)
        weights = Distributor(given.workers).run(
            loop, rows, **COLUMNS[given.loop], epochs=given.epochs
        )
        print(f"trained by {given.loop} on {given.workers} workers: {len(weights)} entries")
    finally:
        stop_orca_context()


if __name__ == "__main__":
    main()
