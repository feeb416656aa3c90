"""The trainer can learn a scene by heart."""

from pathlib import Path

import pytest
import torch

from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.data import Sample, write_shard
from worldgen.evaluation.metrics.image import psnr
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL, generate_views
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render
from worldgen.training.engine.run import train


@pytest.mark.slow
def test_one_scene_is_learnt_to_35_db(root: Path, tmp_path: Path) -> None:
    per_scene, per_frame = torch.rand(1, NUMBERS), torch.rand(1, 6, NUMBERS)
    cameras = ring(per_scene, per_frame, torch.tensor([40.0]), (32, 32))
    clip = render(tabletop(0, [0]), cameras, 2)[0]
    write_shard(tmp_path / "shards" / "000000.tar", [Sample("one", clip, "", "test", tuple("abcdef"))])
    options = (
        f"output={tmp_path / 'run'}", f"data.shards={tmp_path / 'shards'}", "data.shards_share=1.0", "data.pool=1",
        "data.reuse=100000", "train.steps=1500", "train.batch=4", "train.frames=[4]", "train.ema=0.99",
        "tasks.scale_jitter=1.0", "tasks.drop_cameras=0.0", "tasks.unknown=0.0", "tasks.independent=0.0",
        "train.checkpoint_every=500",
    )  # fmt: skip
    train(root / "configs" / "ablation.yaml", options)
    model, scores = WorldModel.load(tmp_path / "run" / "model"), []
    for target in range(2, 6):
        given = clip.frames(slice(0, 2))
        known = Clip(given.rgb[None], torch.zeros_like(given.depth)[None], given.cameras[None])
        views = cameras[:, [0, 1, target]]
        new = generate_views(model, known, views[:, 2:], scene_scale_from_cameras(views), ONE_CALL)
        scores.append(float(psnr(new.rgb[0, -1], clip.rgb[target])))
    assert min(scores) > 35, scores
