"""`worldgen train-codec`: the loop with its progress bar, log, checkpoints and sheets of held-out scenes."""

import sys
from pathlib import Path

import torch

from geometry.errors import InputError
from geometry.io.images import write_png
from worldgen.codecs import save_codec
from worldgen.config import load
from worldgen.evaluation.codec import codec_sheet, held_out_films
from worldgen.models.vae import ConvVAE
from worldgen.scenes.families import FAMILIES
from worldgen.training.codec import CodecRun, CodecTrainer
from worldgen.training.run import Log


def train_codec(config_path: Path, overrides: tuple[str, ...] = ()) -> None:
    """Train a codec to its run's end, continuing from its checkpoint if it has one.

    In the run's output folder: checkpoint.safetensors, log.jsonl, tensorboard/ (where that is installed),
    sheets/STEP.png, and at the end codec/ (averaged weights in 16 bits, which `worldgen.codecs.load_codec` reads).
    Interrupting writes a checkpoint first. Raises InputError for a bad configuration or output.
    """
    from tqdm import tqdm

    config = load(CodecRun, config_path, overrides)
    try:
        config.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output {config.output}: {error.strerror}; expected a folder one can write to") from error
    trainer, every = CodecTrainer(config), config.train
    size = sum(parameter.numel() for parameter in trainer.vae.parameters()) / 1e6
    bar = tqdm(total=every.steps, initial=trainer.step, unit="step", disable=not sys.stderr.isatty())
    print(f"codec: {size:.2f}M parameters on {trainer.device}, step {trainer.step}", flush=True)
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
                    _write_sheet(trainer.averaged(), config, config.output / "sheets" / f"{step:07d}.png")
        except KeyboardInterrupt:
            trainer.save()
            raise
    trainer.save()
    save_codec(trainer.averaged(), config.output / "codec", half=True)
    print(f"done: {config.output / 'codec'}", flush=True)


@torch.no_grad()
def _write_sheet(vae: ConvVAE, config: CodecRun, path: Path) -> None:
    frames = 1 + config.codec.group
    shots = {name: held_out_films(name, 2, frames, config.data.fps, config.size_px) for name in FAMILIES}
    write_png(path, codec_sheet(vae, shots))
