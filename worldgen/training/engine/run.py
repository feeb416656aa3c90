"""`worldgen train`: the loop with its progress bar, logs, checkpoints and sheets."""

import json
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError

from geometry.errors import InputError
from geometry.io.files import write_file
from worldgen.runtime.atomic_dir import resumable_folder
from worldgen.runtime.config import config_file, load, to_yaml
from worldgen.runtime.ownership import read_manifest, sign
from worldgen.runtime.progress import Report, shown
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine.checkpoint import Checkpoint
from worldgen.training.engine.distributed import Ranks, joined
from worldgen.training.engine.resumable import CHECKPOINT
from worldgen.training.engine.sheet import write_sheet
from worldgen.training.engine.trainer import Trainer
from worldgen.training.student import StudentTrainer

RUN = "training run"  # what the folder's manifest says it holds


def train(config_path: Path, overrides: tuple[str, ...] = (), progress: bool | Report = True) -> None:
    """Train a run to its end, resuming from its checkpoint if it has one.

    In the run's output folder: config.yaml (the configuration in full), checkpoint.safetensors, log.jsonl, tensorboard/
    (where that is installed), sheets/STEP.png, averages/STEP.safetensors (with `train.averages`), and at the end model/
    (averaged weights in int8, which `WorldModel.load` reads).

    SIGINT (Ctrl-C) and SIGTERM end it after the step, with a checkpoint; a second one at once. Under torchrun all
    processes train together (docs/guides/training.md).

    Args:
        config_path: The run's YAML file, or the name of one in the package, such as `tiny` (`RunConfig`).
        overrides: `section.key=value` each.
        progress: Whether to show it on stderr, or a function that is called with the share of the steps that are done.

    Raises:
        InputError: A bad configuration or output, a loss that is NaN or Inf, a full disk.
        KeyboardInterrupt: After an interrupt.
    """
    config_path = config_file(config_path)
    config = load(RunConfig, config_path, overrides)
    inputs = [place for place in (config.train.start_from, config.data.shards, config.model.codec_weights) if place]
    with (
        joined(config.train) as ranks,
        run_folder(config.output, config_path, inputs) if ranks.main else nullcontext(),
        Interrupts() as interrupts,
    ):
        trainer = (Trainer if config.distill is None else StudentTrainer)(config, ranks)
        if ranks.main:
            sign(config.output, RUN, whole=False)
            write_config(config, config.output)
            where = place(ranks.device)
            where += f" x {ranks.world_size} ({ranks.parallel})" if ranks.world_size > 1 else ""
            print(f"{config.model.name}: {_size(trainer):.2f}M parameters on {where}, step {trainer.step}", flush=True)
        run_to_end(trainer, config.train, config.output, write_sheet, interrupts, progress)
        averaged = trainer.averaged()
        if ranks.main:
            with written(config.output):
                trainer.keep(averaged, config.output / "model")
            print(f"done: {config.output / 'model'}", flush=True)


def place(device: torch.device) -> str:
    """A device in words. On a CPU with the number of threads, on which the last bits of a result depend."""
    threads = torch.get_num_threads()
    return f"{device} ({threads} thread{'s' if threads > 1 else ''})" if device.type == "cpu" else f"{device}"


def run_folder(output: Path, config_path: Path, inputs: Sequence[Path | str] = ()) -> AbstractContextManager[Path]:
    """The folder of a run, claimed: new, empty but for the run's file, or of a training run (`resumable_folder`).

    inputs  files and folders that the run reads: none may be in the folder
    """
    return resumable_folder(output, _is_run, inputs, kept=(config_path,))


def _is_run(folder: Path) -> bool:
    """Whether a folder is of a training run, also of one from before runs had manifests."""
    if read_manifest(folder).get("holds") == RUN:
        return True
    try:
        return bool(Checkpoint(folder / CHECKPOINT).header)
    except InputError:
        return False


def write_config(config: Any, folder: Path) -> None:
    """Write a run's configuration in full as config.yaml, which `load` reads as the same; whole, or not at all.

    A run that is resumed with another length or other intervals has its file replaced. Raises InputError when the file
    cannot be written.
    """
    path, text = folder / "config.yaml", to_yaml(config).encode()
    if not path.exists() or path.read_bytes() != text:
        write_file(path, text)


@contextmanager
def written(output: Path) -> Iterator[None]:
    """Around writing beside a run's checkpoint: raises InputError, in a line, where that is impossible."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{output} can't be written ({reason}); expected room for logs, sheets and the model; the last checkpoint "
            "is kept, and the same command resumes from it"
        ) from error


@runtime_checkable
class _Trainer(Protocol):
    """What `run_to_end` needs: a `Resumable` with a result."""

    step: int
    ranks: Ranks

    @property
    def total(self) -> int: ...
    def steps(self) -> Iterator[dict[str, Any]]: ...
    def averaged(self) -> Any: ...
    def save(self) -> None: ...
    def snapshot(self) -> None: ...
    def has_snapshot(self) -> bool: ...


def run_to_end(
    trainer: _Trainer,
    every: TrainConfig,
    output: Path,
    write_sheet: Callable[[Any, Path], None],
    interrupts: "Interrupts",
    progress: bool | Report = True,
) -> None:
    """Train all steps and write log, sheets and checkpoints; ends with a checkpoint, also when interrupted.

    What a step leaves is on the disk before the checkpoint of that step, so that a run which is killed anywhere resumes
    from before what is missing; what is missing of the step it resumes from is made up for first.
    """
    ranks = trainer.ranks

    def leave(again: bool = False) -> None:
        """Write the averages and the sheet that are due at this step; `again`: those that are not there."""
        step, last = trainer.step, trainer.step == trainer.total
        sheet = output / "sheets" / f"{step:07d}.png"
        if (step % every.average_every == 0 or last) and not (again and ranks.any(trainer.has_snapshot())):
            trainer.snapshot()
        if (step % every.sheet_every == 0 or last) and not (again and ranks.any(sheet.is_file())):
            averaged = trainer.averaged()
            if ranks.main:
                with written(output):
                    write_sheet(averaged, sheet)

    if trainer.step:
        leave(again=True)
    known = trainer.total
    with (
        shown(ranks.main and progress) as report,
        Log(output, trainer.step) if ranks.main else nullcontext() as log,
    ):
        for record in trainer.steps():
            step, last = record["step"], record["step"] == trainer.total
            report(step / trainer.total, f"step {step}/{trainer.total}, loss {record['loss']:.4g}")
            if known != trainer.total:
                known = trainer.total
                if ranks.main:
                    print(f"{every.budget_s:g} s are {trainer.total} steps", flush=True)
            if log is not None and (step % every.log_every == 0 or last):
                with written(output):
                    log.write(record)
            stopping = ranks.any(interrupts.asked)
            try:
                leave()
            except Exception:  # the step is trained, even where its sheet cannot be written
                trainer.save()
                raise
            if step % every.checkpoint_every == 0 or last or stopping:
                trainer.save()
            if stopping:
                raise KeyboardInterrupt


class Interrupts:
    """Turns SIGINT and SIGTERM into a flag that is read after each step, so that all processes stop at the same one."""

    asked = False

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = {kind: signal.signal(kind, self._ask) for kind in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for kind, handler in getattr(self, "_before", {}).items():
            signal.signal(kind, handler)


def _size(trainer: Trainer) -> float:
    return sum(value.numel() for value in trainer.state().values()) / 1e6


@runtime_checkable
class _Scalars(Protocol):
    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...
    def close(self) -> None: ...


class Log:
    """Records as lines of JSON, and as TensorBoard scalars where that is installed."""

    def __init__(self, folder: Path, step: int):
        self.path, self.board = folder / "log.jsonl", _board(folder / "tensorboard", step)
        # A run that resumes from an earlier checkpoint overwrites what came after it.
        kept = [line for line in _lines(self.path) if json.loads(line)["step"] <= step]
        write_file(self.path, "".join(kept).encode())

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
