"""Models that work in a trained codec's latents: trained, saved with their codec, loaded elsewhere, sampled."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from tests.models.codec.test_vae import vae_of
from tests.models.tiny import BLOCK, posed, tiny_config, tiny_model
from tests.training.engine.test_trainer import assert_same_state, trained
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization, scene_scale_from_cameras
from worldgen.models.codec.files import load_codec, save_codec
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.codec.vae import ConvVAE
from worldgen.models.config import ModelConfig
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.runtime.config import build, plain
from worldgen.training.config.run import RunConfig
from worldgen.training.config.tasks import TaskConfig
from worldgen.training.objectives.inputs import encode
from worldgen.training.planning import plan

LATENTS = {"rgb": 3, "depth": 3}


@pytest.fixture
def vae(tmp_path: Path) -> ConvVAE:
    """A small codec with random weights, which is in the folder `vae`."""
    made = vae_of(block=BLOCK)
    save_codec(made, tmp_path / "vae")
    return made


def coded(folder: Path, memory: bool = False) -> ModelConfig:
    """A model in the latents of a codec."""
    network = replace(tiny_config(), modalities=LATENTS, memory_channels=5 * BLOCK**2 if memory else 0)
    return replace(tiny_model(), codec_weights=str(folder), network=network)


def some_clip(batch: int, frames: int) -> Clip:
    return Clip(
        torch.rand(batch, frames, 3, 16, 16), 1 + torch.rand(batch, frames, 1, 16, 16), posed(batch, frames).cameras
    )


def test_a_coded_model_trains_is_saved_with_its_codec_and_generates_views(
    vae, run_of: Callable, tmp_path: Path
) -> None:
    config = replace(run_of(steps=2, consistency_weight=0.1), model=coded(tmp_path / "vae"))
    trainer = trained(config)
    assert isinstance(used := trainer.model.codec, ConvVAE)
    assert all(torch.equal(value, vae.state_dict()[name]) for name, value in used.state_dict().items())
    trainer.averaged().save(tmp_path / "model")
    shutil.rmtree(tmp_path / "vae")
    model = WorldModel.load((tmp_path / "model").rename(tmp_path / "moved"))
    assert model.config == config.model and isinstance(model.codec, ConvVAE)
    assert not any(parameter.requires_grad for parameter in model.codec.parameters())
    clip = some_clip(2, 3)
    known, later = clip.frames(slice(0, 2)), clip.cameras[:, 2:]
    made = generate_views(model, known, later, scene_scale_from_cameras(clip.cameras), Sampling(steps=2))
    assert made.rgb.shape == (2, 3, 3, 16, 16) and bool(made.rgb.isfinite().all()) and bool((made.depth > 0).all())
    # The codec keeps neither, and yet what was given comes back as it was.
    assert torch.equal(made.rgb[:, :2], known.rgb) and torch.equal(made.depth[:, :2], known.depth)


def test_a_coded_model_resumes_exactly_and_takes_memories_as_pixels(vae, run_of: Callable, tmp_path: Path) -> None:
    def run(name: str) -> RunConfig:
        return replace(run_of(name, TaskConfig(memory=1.0), steps=4), model=coded(tmp_path / "vae", memory=True))

    whole = trained(run("whole"))
    trained(run("parts"), steps=2)
    assert_same_state(whole.checkpoint_path, trained(run("parts")).checkpoint_path)
    assert bool(whole.model.network.state_dict()["memory.weight"].any())


def test_a_run_starts_from_a_coded_model_with_the_codec_it_brings(vae, run_of: Callable, tmp_path: Path) -> None:
    WorldModel.create(coded(tmp_path / "vae")).save(tmp_path / "start")
    shutil.rmtree(tmp_path / "vae")
    config = replace(run_of(start_from=str(tmp_path / "start"), steps=1), model=coded(tmp_path / "vae"))
    assert trained(config).averaged().vae is not None
    with pytest.raises(InputError, match=r"codec_weights and coarse \(None, None\)"):
        WorldModel.load(tmp_path / "start").grown(tiny_model())


def test_the_loss_is_of_codec_latents_and_counts_depth_where_whole_blocks_of_it_are_known(vae, tmp_path) -> None:
    model, clip = WorldModel.create(coded(tmp_path / "vae")), some_clip(1, 2)
    clip.depth[0, 1, 0, 0, 5] = 0
    normalization = Normalization.of(clip.cameras, scene_scale_from_cameras(clip.cameras))
    x0, known, level = encode(model, clip, normalization, torch.zeros(1, 2, 2))
    signal = normalization.signal_from_depth(torch.where(clip.depth > 0, clip.depth, torch.inf))
    assert torch.allclose(x0, vae.encode({"rgb": clip.rgb, "depth": signal})) and not x0.requires_grad
    assert (1 - known).nonzero().tolist() == [[0, 1, channel, 0, 1] for channel in (3, 4, 5)]
    assert level[0].tolist() == [[0, 0], [0, 1]]


def test_a_coded_model_is_planned_without_its_codec_s_work(vae, run_of: Callable, tmp_path: Path) -> None:
    planned = plan(replace(run_of(), model=coded(tmp_path / "vae")))
    network = WorldModel.create(coded(tmp_path / "vae")).network
    assert planned.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_the_embedded_codec_is_named_and_not_copied(tmp_path: Path) -> None:
    network = replace(tiny_config(), modalities={"rgb": 16, "depth": 8})
    config = replace(tiny_model(), codec=PixelCodec(8), codec_weights="vae", network=network)
    WorldModel.create(config).save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "weights.safetensors"}
    kept, embedded = WorldModel.load(tmp_path).vae, load_codec("vae")
    assert kept is not None and all(torch.equal(v, kept.state_dict()[n]) for n, v in embedded.state_dict().items())


def test_codecs_that_do_not_fit_are_refused(vae, tmp_path: Path) -> None:
    config = coded(tmp_path / "vae")
    save_codec(vae_of(2, BLOCK), tmp_path / "video")
    cases = {
        "video codecs are not wired": replace(config, codec_weights=str(tmp_path / "video")),
        "network modalities": replace(config, network=replace(config.network, modalities={"rgb": 3, "depth": 4})),
        "codec.block 8": replace(config, codec=PixelCodec(8)),
        "codec 'nothing'": replace(config, codec_weights="nothing"),
    }
    for message, wrong in cases.items():
        with pytest.raises(InputError, match=message):
            WorldModel.create(wrong)
    with pytest.raises(InputError, match=r"codec\.layout"):
        replace(config, codec=PixelCodec(BLOCK, layout=True))
    assert build(ModelConfig, plain(config), "here") == config
