"""Runs of several processes, for `torchrun`: trains the runs of the files given, one after the other, in one group.

Beside each run's checkpoint of its last step it writes losses.json; a run that ends in an InputError leaves error-R.txt.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from geometry.errors import InputError
from worldgen.config import load
from worldgen.training.config import RunConfig
from worldgen.training.distributed import Ranks, joined
from worldgen.training.loop import Trainer


def run(config: RunConfig, ranks: Ranks) -> None:
    """Train, write the losses, save."""
    config.output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, ranks)
    poison = os.environ.get("POISON_RANK")
    losses = []
    for record in trainer.steps():
        losses.append([record["step"], record["loss"]])
        if poison == str(ranks.rank) and config.output.name == "poisoned" and record["step"] == 3:
            with torch.no_grad():
                next(iter(trainer.model.network.parameters())).fill_(torch.nan)
    trainer.save()
    averaged = trainer.averaged()
    if ranks.main:
        averaged.save(config.output / "model")
        (config.output / "losses.json").write_text(json.dumps(losses))


def main() -> None:
    """All files."""
    torch.set_num_threads(1)
    files = [load(RunConfig, Path(file)) for file in sys.argv[1:]]
    with joined(replace(files[0].train, parallel="ddp", context_parallel=2)) as ranks:
        for config in files:
            context = ranks.context if config.train.context_parallel > 1 else None
            try:
                run(config, replace(ranks, parallel=config.train.parallel, context=context))
            except InputError as error:
                (config.output / f"error-{ranks.rank}.txt").write_text(str(error))


if __name__ == "__main__":
    main()
