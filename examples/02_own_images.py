"""Fine-tune the embedded model on your own posed images, and see what it gains on held-out ones.

python examples/02_own_images.py CAPTURE [OUTPUT] [STEPS]

CAPTURE is a folder with transforms.json, a COLMAP model or another format `worldgen curate` finds, of 13 images or
more. Every fifth is held out. 400 steps take a few minutes on a CPU; calling it again resumes where it was.
"""

import sys
from pathlib import Path

import torch

from geometry.camera.cameras import Cameras
from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.core.view_distance import squared_distances
from worldgen.data import Sample, find_captures, write_shard
from worldgen.evaluation.baselines import copy_nearest
from worldgen.evaluation.metrics.image import psnr
from worldgen.evaluation.sets.captures import read_capture
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL, generate_views
from worldgen.training.engine.run import train

GIVEN = 4


def main(capture: Path, output: Path = Path("out/own"), steps: int = 400) -> tuple[float, float, float]:
    images, names = read_capture(find_captures(capture)[0], 64, "crop")
    held_out = torch.arange(len(images)) % 5 == 2
    shown, hidden = images.frames(~held_out), images.frames(held_out)
    kept = tuple(name for name, hide in zip(names, held_out.tolist()) if not hide)
    write_shard(output / "shards" / "clips-00000.tar", [Sample("capture", shown, source=str(capture), names=kept)])
    # Three clips in four are of the capture; scenes of the model's own kind keep it from forgetting what depth is.
    options = (
        f"output={output / 'run'}", f"data.shards={output / 'shards'}", "data.shards_share=0.75", "data.pool=4",
        "train.start_from=tiny", f"train.steps={steps}", "train.learning_rate=0.001", "train.warmup=20",
        "train.alignment_weight=0", "train.cooldown=0.6", "train.ema=0.98", "train.checkpoint_every=100",
        "train.sheet_every=100000",
    )  # fmt: skip
    train(Path(__file__).parents[1] / "configs" / "tiny.yaml", options)

    before, after = (score(WorldModel.load(name), shown, hidden) for name in ("tiny", output / "run" / "model"))
    copied = psnr(copy_nearest(_batch(shown), hidden.cameras[None])[0], hidden.rgb).mean()
    print(
        f"{len(hidden)} held-out images from the {GIVEN} nearest others, PSNR: {before:.2f} dB before, "
        f"{after:.2f} dB after {steps} steps; copying the nearest {copied:.2f} dB"
    )
    return float(before), float(after), float(copied)


def score(model: WorldModel, shown: Clip, hidden: Clip) -> torch.Tensor:
    """The mean PSNR (dB) of hidden views, each predicted in one call from the nearest shown images."""
    scores = []
    for n, camera in enumerate(hidden.cameras[k] for k in range(len(hidden))):
        nearest = squared_distances(camera, shown.cameras).argsort()[:GIVEN]
        given = _batch(shown.frames(nearest))
        target = camera[None, None]
        scale = scene_scale_from_cameras(Cameras.cat([given.cameras, target]))
        view = generate_views(model, given, target, scale, ONE_CALL)
        scores.append(psnr(view.rgb[0, -1], hidden.rgb[n]))
    return torch.stack(scores).mean()


def _batch(clip: Clip) -> Clip:
    return Clip(clip.rgb[None], torch.zeros_like(clip.depth)[None], clip.cameras[None])


if __name__ == "__main__":
    folder, output, steps = (*sys.argv[1:], *("", "out/own", "400")[len(sys.argv) - 1 :])
    main(Path(folder), Path(output), int(steps))
