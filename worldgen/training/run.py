"""`worldgen train`: the loop with its progress bar, logs, checkpoints and sheets."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from geometry.errors import InputError
from worldgen.config import load
from worldgen.training.config import RunConfig
from worldgen.training.loop import Trainer
from worldgen.training.sheet import write_sheet


def train(config_path: Path, overrides: tuple[str, ...] = ()) -> None:
    """Train a run to its end, continuing from its checkpoint if it has one.

    In the run's output folder: checkpoint.safetensors, log.jsonl, tensorboard/ (where that is installed),
    sheets/STEP.png, and at the end model/ (averaged weights in int8, which `WorldModel.load` reads).
    Interrupting writes a checkpoint first. Raises InputError for a bad configuration or output.
    """
    from tqdm import tqdm

    config = load(RunConfig, config_path, overrides)
    try:
        config.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output {config.output}: {error.strerror}; expected a folder one can write to") from error
    trainer = Trainer(config)
    every = config.train
    bar = tqdm(total=every.steps, initial=trainer.step, unit="step", disable=not sys.stderr.isatty())
    print(f"{config.model.name}: {_size(trainer):.2f}M parameters on {trainer.device}, step {trainer.step}", flush=True)
    with bar, Log(config.output, trainer.step) as log:
        try:
            for record in trainer.steps():
                bar.update()
                step = record["step"]
                if step % every.log_every == 0 or step == every.steps:
                    log.write(record)
                    bar.set_postfix(loss=record["loss"])
                if step % every.checkpoint_every == 0:
                    trainer.save()
                if step % every.sheet_every == 0 or step == every.steps:
                    write_sheet(trainer.averaged(), config.output / "sheets" / f"{step:07d}.png")
        except KeyboardInterrupt:
            trainer.save()
            raise
    trainer.save()
    trainer.averaged().save(config.output / "model", int8=True)
    print(f"done: {config.output / 'model'}", flush=True)


def _size(trainer: Trainer) -> float:
    return sum(parameter.numel() for parameter in trainer.model.network.parameters()) / 1e6


@runtime_checkable
class _Scalars(Protocol):
    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...
    def close(self) -> None: ...


class Log:
    """Records as lines of JSON, and as TensorBoard scalars where that is installed."""

    def __init__(self, folder: Path, step: int):
        self.path, self.board = folder / "log.jsonl", _board(folder / "tensorboard", step)
        # A run that continues from an earlier checkpoint overwrites what came after it.
        kept = [line for line in _lines(self.path) if json.loads(line)["step"] <= step]
        self.path.write_text("".join(kept), encoding="utf-8")

    def __enter__(self) -> "Log":
        self.file = self.path.open("a", encoding="utf-8")
        return self

    def write(self, record: dict[str, Any]) -> None:
        """Append a record."""
        print(json.dumps(record), file=self.file, flush=True)
        if self.board is not None:
            for name, value in record.items():
                if name != "step":
                    self.board.add_scalar(name, value, record["step"])

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.board is not None:
            self.board.close()


def _lines(path: Path) -> Iterable[str]:
    """The complete lines of a log; a line cut short by a crash is dropped."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("}\n")]


def _board(folder: Path, step: int) -> _Scalars | None:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ModuleNotFoundError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
