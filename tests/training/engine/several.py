"""Runs of several processes, for `torchrun`: trains the runs of the files given, one after the other, in one group.

Each is given as FILE:STEP and trained to that step, where it leaves a checkpoint, averages/ (if it has any), model/ and
records.json (loss and gradient norm by step); one that ends in an InputError leaves error-RANK.txt. In a run named
"poisoned" a weight of rank 1 becomes no number after step 2.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from geometry.errors import InputError
from worldgen.runtime.config import load
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.distributed import Ranks, joined
from worldgen.training.engine.trainer import Trainer


def run(config: RunConfig, until: int, ranks: Ranks) -> None:
    """Train, write the records, save."""
    config.output.mkdir(parents=True, exist_ok=True)
    trainer, records = Trainer(config, ranks), {}
    for record in trainer.steps():
        records[record["step"]] = (record["loss"], record["gradient_norm"])
        if record["step"] == until:
            break
        if config.output.name == "poisoned" and ranks.rank == 1 and record["step"] == 2:
            with torch.no_grad():
                trainer.model.network.get_parameter("head.rgb.bias").fill_(torch.nan)
    trainer.save()
    trainer.snapshot()
    averaged = trainer.averaged()
    if ranks.main:
        averaged.save(config.output / "model")
        (config.output / "records.json").write_text(json.dumps(records))


def main() -> None:
    """All files."""
    torch.set_num_threads(1)
    runs = [(load(RunConfig, Path(file)), int(until)) for file, until in (arg.rsplit(":", 1) for arg in sys.argv[1:])]
    with joined(replace(runs[0][0].train, parallel="ddp", context_parallel=2)) as ranks:
        for config, until in runs:
            context = ranks.context if config.train.context_parallel > 1 else None
            try:
                run(config, until, replace(ranks, parallel=config.train.parallel, context=context))
            except InputError as error:
                (config.output / f"error-{ranks.rank}.txt").write_text(str(error))


if __name__ == "__main__":
    main()
