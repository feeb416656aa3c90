"""`worldgen train-codec`: the loop with its progress bar, log, checkpoints and sheets of held-out scenes."""

from functools import partial
from pathlib import Path

import torch

from geometry.io.images import write_png
from worldgen.evaluation.codec import codec_sheet, held_out_videos
from worldgen.models.codec.files import save_codec
from worldgen.models.codec.vae import ConvVAE
from worldgen.runtime.config import config_file, load
from worldgen.runtime.ownership import sign
from worldgen.runtime.progress import Report
from worldgen.scenes.families.family import FAMILIES
from worldgen.training.codec.config import CodecRun
from worldgen.training.codec.trainer import CodecTrainer
from worldgen.training.engine.run import RUN, Interrupts, place, run_folder, run_to_end, write_config, written


def train_codec(config_path: Path, overrides: tuple[str, ...] = (), progress: bool | Report = True) -> None:
    """Train a codec to its run's end, resuming from its checkpoint if it has one.

    In the run's output folder: config.yaml (the configuration in full), checkpoint.safetensors, log.jsonl, tensorboard/
    (where that is installed), sheets/STEP.png, and at the end codec/ (averaged weights in 16 bits, which
    `worldgen.models.codec.files.load_codec` reads). SIGINT (Ctrl-C) and SIGTERM end it after the step, with a
    checkpoint.

    Args:
        config_path: The run's YAML file, or the name of one in the package, such as `vae` (`CodecRun`).
        overrides: `section.key=value` each.
        progress: Whether to show it on stderr, or a function that is called with the share of the steps that are done.

    Raises:
        InputError: A bad configuration or output, a loss that is NaN or Inf, a full disk.
        KeyboardInterrupt: After an interrupt.
    """
    config_path = config_file(config_path)
    config = load(CodecRun, config_path, overrides)
    with run_folder(config.output, config_path), Interrupts() as interrupts:
        trainer = CodecTrainer(config)
        sign(config.output, RUN, whole=False)
        write_config(config, config.output)
        size = sum(parameter.numel() for parameter in trainer.vae.parameters()) / 1e6
        print(f"codec: {size:.2f}M parameters on {place(trainer.device)}, step {trainer.step}", flush=True)
        run_to_end(trainer, config.train, config.output, partial(_write_sheet, config), interrupts, progress)
        with written(config.output):
            save_codec(trainer.averaged(), config.output / "codec", half=True)
        print(f"done: {config.output / 'codec'}", flush=True)


@torch.no_grad()
def _write_sheet(config: CodecRun, vae: ConvVAE, path: Path) -> None:
    frames = 1 + config.codec.group
    shots = {name: held_out_videos(name, 2, frames, config.data.fps, config.size_px) for name in FAMILIES}
    write_png(path, codec_sheet(vae, shots))
