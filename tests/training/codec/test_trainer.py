"""Training a codec: it learns, it resumes exactly, it knows videos from views, and what it leaves loads again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from worldgen.cli import main
from worldgen.core.clip import Clip
from worldgen.models.codec.files import load_codec, save_codec
from worldgen.models.codec.vae import BranchConfig, ConvVAE, ConvVAEConfig
from worldgen.runtime.config import load, plain
from worldgen.training.codec.config import CodecLoss, CodecRun
from worldgen.training.codec.trainer import CodecTrainer, codec_loss, in_order
from worldgen.training.config.data import DataConfig
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine import checkpoint

SHAPE = BranchConfig(3, (8, 12), (1, 1), (1, 1))


def run_of(folder: Path, group: int = 1, family: str = "tabletop", **train) -> CodecRun:
    """A run of seconds."""
    views = 1 + group
    data = DataConfig(views=views, pool=2, reuse=2, supersample=1, families={family: 1.0})
    options = {"steps": 6, "batch": 2, "frames": (views,), "warmup": 2, "precision": "fp32", "device": "cpu"}
    train = {**options, "optimizer": "adamw", **train}
    return CodecRun(folder, ConvVAEConfig(4, group, SHAPE, SHAPE), 16, CodecLoss(), data, TrainConfig(**train))


def trained(config: CodecRun, steps: int | None = None) -> CodecTrainer:
    """A trainer of the run after `steps` more steps, or at its end, saved."""
    trainer = CodecTrainer(config)
    for count, _ in enumerate(trainer.steps(), start=1):
        if count == steps:
            break
    trainer.save()
    return trainer


@pytest.mark.parametrize(("group", "family"), [(1, "tabletop"), (2, "street")])
def test_stopping_and_resuming_is_training_without_a_stop_bit_for_bit(tmp_path: Path, group: int, family: str) -> None:
    whole = trained(run_of(tmp_path / "whole", group, family))
    trained(run_of(tmp_path / "parts", group, family), steps=3)
    parts = trained(run_of(tmp_path / "parts", group, family))
    assert whole.step == parts.step == 6
    (a, header), (b, other) = (checkpoint.load(trainer.checkpoint_path) for trainer in (whole, parts))
    assert header == other and a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    ours, theirs = whole.averaged().state_dict(), parts.averaged().state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_training_improves_on_the_principal_components_it_starts_from(tmp_path: Path) -> None:
    config = run_of(tmp_path, steps=150, learning_rate=3e-3)
    config = replace(config, data=replace(config.data, pool=1, reuse=1000))
    losses = torch.tensor([record["loss"] for record in CodecTrainer(config).steps()])
    assert losses[-20:].mean() < 0.75 * losses[:5].mean()


def test_the_latents_of_the_images_it_was_trained_on_are_normalized(tmp_path: Path) -> None:
    trainer = trained(run_of(tmp_path))
    vae = trainer.averaged()
    latents = torch.cat([vae.encode(video).flatten(0, 1) for video in trainer._videos(0, 6)])
    std, mean = torch.std_mean(latents, (0, 2, 3))
    assert torch.allclose(std, torch.ones(6), atol=1e-3) and torch.allclose(mean, torch.zeros(6), atol=1e-3)


def test_resuming_under_another_configuration_is_refused_but_a_longer_run_is_not(tmp_path: Path) -> None:
    trained(run_of(tmp_path), steps=1)
    assert CodecTrainer(run_of(tmp_path, steps=9, checkpoint_every=3)).step == 1
    with pytest.raises(InputError, match="another configuration"):
        CodecTrainer(replace(run_of(tmp_path), loss=CodecLoss(kl=1e-3)))


def test_creating_a_trainer_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    CodecTrainer(run_of(tmp_path))
    assert torch.equal(torch.rand(3), wanted)


def test_a_loss_that_is_nan_or_inf_stops_the_run(tmp_path: Path) -> None:
    trainer = CodecTrainer(run_of(tmp_path))
    with torch.no_grad():
        next(trainer.vae.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match="the loss is nan at step 0"):
        next(trainer.steps())


def test_videos_are_distinguished_from_rigs_and_from_views_of_one_moment() -> None:
    view = torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    time_s = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    poses = torch.eye(4).expand(3, 3, 4, 4)
    cameras = replace(Cameras.from_fov(poses, 60.0, (4, 4)), view=view, time_s=time_s)
    order, video = in_order(Clip(torch.rand(3, 3, 3, 4, 4), torch.ones(3, 3, 1, 4, 4), cameras))
    assert video.tolist() == [True, False, False]
    assert order[0].tolist() == [1, 2, 0]


def test_the_loss_is_its_parts_and_zero_error_leaves_the_divergence() -> None:
    vae = ConvVAE(ConvVAEConfig(4, 1, SHAPE, SHAPE))
    signals = {"rgb": torch.rand(2, 1, 3, 8, 8), "depth": torch.randn(2, 1, 1, 8, 8)}
    total, parts = codec_loss(vae, signals, np.random.default_rng(0), CodecLoss(gradient=0.5, kl=0.1), 0.3)
    assert float(total) == pytest.approx(float(parts["rgb"] + 0.3 * parts["depth"] + 0.1 * parts["kl"]), rel=1e-5)
    mean, log_variance = vae.posterior(signals)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(torch.zeros(()), torch.ones(())))
    assert float(parts["kl"]) == pytest.approx(float(kl.mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: replace(run, size_px=18), "size_px 18"),
        (lambda run: replace(run, codec=replace(run.codec, group=4)), r"1 \+ a multiple of codec.group 4"),
        (lambda run: replace(run, loss=CodecLoss(kl=-1.0)), "kl=-1"),
        (lambda run: replace(run, train=replace(run.train, start_from="tiny")), "start_from"),
        (lambda run: replace(run, train=replace(run.train, batch=0)), "batch 0"),
        (lambda run: replace(run, train=replace(run.train, parallel="ddp")), "averages or parallel"),
        (lambda run: replace(run, train=replace(run.train, averages=(0.1,))), "averages or parallel"),
    ],
)
def test_impossible_runs_are_refused(tmp_path: Path, change: Callable[[CodecRun], CodecRun], message: str) -> None:
    with pytest.raises(InputError, match=message):
        change(run_of(tmp_path))


@pytest.mark.parametrize("name", ["vae", "vae_video"])
def test_the_configurations_that_come_with_the_package_are_runs(root: Path, name: str) -> None:
    assert load(CodecRun, root / "configs" / f"{name}.yaml").size_px == 64


def test_the_command_leaves_a_codec_a_log_a_sheet_and_a_checkpoint(tmp_path: Path) -> None:
    config = run_of(tmp_path / "run", steps=2, sheet_every=2, log_every=1)
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(plain(config), sort_keys=False))
    assert main(["train-codec", str(file)]) == 0
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()] == [1, 2]
    assert (tmp_path / "run" / "sheets" / "0000002.png").stat().st_size > 1000
    assert load_codec(tmp_path / "run" / "codec").config == config.codec
    assert load(CodecRun, tmp_path / "run" / "config.yaml") == config
    assert main(["train-codec", str(file), "codec.block=3"]) == 2


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_codec_loads_as_it_was(tmp_path: Path, half: bool) -> None:
    vae = ConvVAE(ConvVAEConfig(4, 2, SHAPE, SHAPE)).requires_grad_(False)
    vae.get_buffer("latent_std").fill_(2)
    save_codec(vae, tmp_path, half)
    loaded = load_codec(tmp_path)
    signals = {"rgb": torch.rand(3, 3, 8, 8), "depth": torch.randn(3, 1, 8, 8)}
    latent = vae.encode(signals)
    assert torch.allclose(loaded.encode(signals), latent, atol=5e-3 if half else 0)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_codec_that_is_not_there_or_does_not_fit_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="codec 'nothing'"):
        load_codec("nothing")
    save_codec(ConvVAE(ConvVAEConfig(4, 1, SHAPE, SHAPE)), tmp_path)
    config = json.loads((tmp_path / "codec.json").read_text())
    config["rgb"]["latents"] = 5
    (tmp_path / "codec.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="do not fit") as caught:
        load_codec(tmp_path)
    assert "\n" not in str(caught.value)
