"""Mistakes that end a child, which the next case would have to start anew: they come last."""

import os
import signal
from dataclasses import replace
from typing import Any

from tests.messages.table import case
from tests.messages.world import World


@case("a prediction that fails while rows are computed")
def _(world: World) -> Any:
    from zoo.orca.wire.packing import pack

    est = world.estimator()
    world.fit(est)

    def creator(config: Any) -> Any:
        return config["embedding_size"]

    broken = [creator] if world.framework == "torch" else creator
    if world.framework == "torch":
        from zoo.orca.wire.packing import unpack

        recipe = {**unpack(est._model.creator), "model": pack(broken, "model")}
        broken = recipe
    est._requests._model = replace(est._model, creator=pack(broken, "model_creator"))
    return est.predict(world.frame, feature_cols=["x"]).collect()


@case("a creator that runs out of memory")
def _(world: World) -> Any:
    def creator(config: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    return world.fit(world.estimator(creator))
