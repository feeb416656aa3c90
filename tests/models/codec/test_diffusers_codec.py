"""Autoencoders of diffusers as codecs, on tiny ones of the same classes with random weights."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from geometry.errors import InputError
from worldgen.models.codec.diffusers_codec import DiffusersCodec
from worldgen.models.codec.grouping import Grouping

diffusers: Any = pytest.importorskip("diffusers")


def kl(**options: Any) -> nn.Module:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, latent_channels=4, **options,
    )  # fmt: skip


def wan() -> nn.Module:
    return diffusers.AutoencoderKLWan(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1)


def ltx(**options: Any) -> nn.Module:
    widths, layers = (8, 8, 8, 8), (1, 1, 1, 1, 1)
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=6, block_out_channels=widths, decoder_block_out_channels=widths, layers_per_block=layers,
        decoder_layers_per_block=layers, **options,
    )  # fmt: skip
    vae.latents_mean.normal_()
    vae.latents_std.uniform_(0.5, 2)
    return vae


def hunyuan() -> nn.Module:
    return diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=2
    )


VIDEOS = [wan, ltx, hunyuan]


def clips(codec: DiffusersCodec, batch: tuple[int, ...] = (1,), groups: int = 1) -> dict[str, Tensor]:
    """Random frames for a first latent frame and some groups, two latents wide and high."""
    frames, side = 1 + groups * codec.group, 2 * codec.block
    rgb, signal = torch.rand(*batch, frames, 3, side, side), 3 * torch.rand(*batch, frames, 1, side, side) - 1
    return {"rgb": rgb, "depth": signal}


@pytest.mark.parametrize("make", [kl, *VIDEOS])
@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
def test_a_round_trip_keeps_the_shapes_of_frames(make: Callable[[], nn.Module], batch: tuple[int, ...]) -> None:
    codec = DiffusersCodec(make())
    signals = clips(codec, batch)
    latent = codec.encode(signals)
    assert latent.shape == (*batch, 2, sum(codec.modalities().values()), 2, 2)
    shapes = {name: x.shape for name, x in signals.items()}
    assert {name: x.shape for name, x in codec.decode(latent).items()} == shapes
    assert codec.encode_known({"depth": torch.ones_like(signals["depth"])}).shape == latent.shape


@pytest.mark.parametrize(("make", "block", "group"), [(kl, 2, 1), (wan, 8, 4), (ltx, 32, 8), (hunyuan, 8, 4)])
def test_a_latent_holds_the_pixels_and_frames_its_class_says(make: Callable, block: int, group: int) -> None:
    codec = DiffusersCodec(make())
    assert (codec.block, codec.group) == (block, group)


@pytest.mark.parametrize("make", [kl, *VIDEOS])
def test_latents_are_the_means_in_the_units_of_the_classes_own_pipelines(make: Callable[[], nn.Module]) -> None:
    vae: Any = make().eval()
    codec = DiffusersCodec(vae)
    signals = clips(codec)
    video = (2 * signals["rgb"] - 1).movedim(1, 2)
    z = vae.encode(video if codec.group > 1 else video[:, :, 0]).latent_dist.mode()
    if make is wan:
        mean, std = (torch.tensor(v)[:, None, None, None] for v in (vae.config.latents_mean, vae.config.latents_std))
        wanted = (z - mean) / std
    elif make is ltx:
        mean, std = (v[:, None, None, None] for v in (vae.latents_mean, vae.latents_std))
        wanted = (z - mean) * vae.config.scaling_factor / std
    else:
        wanted = z * vae.config.scaling_factor
    latent = codec.encode(signals)[..., : codec.channels, :, :]
    wanted = wanted.movedim(2, 1) if codec.group > 1 else wanted[:, None]
    assert torch.allclose(latent[:, : wanted.shape[1]], wanted, atol=1e-5)


@pytest.mark.parametrize("make", [kl, *VIDEOS])
def test_decoding_undoes_the_scaling_of_encoding(make: Callable[[], nn.Module]) -> None:
    vae: Any = make().eval()
    codec = DiffusersCodec(vae)
    signals = clips(codec)
    video = (2 * signals["rgb"] - 1).movedim(1, 2)
    if codec.group > 1:
        wanted = vae.decode(vae.encode(video).latent_dist.mode()).sample.movedim(1, 2)
    else:
        wanted = vae.decode(vae.encode(video[0].movedim(1, 0)).latent_dist.mode()).sample[None]
    decoded = codec.decode(codec.encode(signals))["rgb"]
    # HunyuanVideo's decoder with random weights makes 5e-5 of the rounding of a latent.
    assert torch.allclose(2 * decoded - 1, wanted, atol=2e-4)


def test_a_shift_factor_is_applied_before_the_scale() -> None:
    codec = DiffusersCodec(kl(scaling_factor=0.5, shift_factor=0.25))
    plain = DiffusersCodec(kl(scaling_factor=1.0))
    plain.autoencoder.load_state_dict(codec.autoencoder.state_dict())
    signals = clips(codec)
    assert torch.allclose(codec.encode(signals), 0.5 * (plain.encode(signals) - 0.25), atol=1e-6)


@pytest.mark.parametrize("make", [kl, wan])
def test_depth_is_a_gray_image_of_the_same_autoencoder_and_comes_back_as_its_mean(make: Callable) -> None:
    codec = DiffusersCodec(make())
    signal = clips(codec)["depth"]
    gray = ((signal + 1) / 3).expand(-1, -1, 3, -1, -1)  # -1..2 as 0..1
    latent = codec.encode({"rgb": gray, "depth": signal})
    color, depth = latent.split(codec.channels, -3)
    assert torch.allclose(color, depth, atol=1e-5)
    back = codec.decode(latent)
    assert torch.allclose(back["depth"], 3 * back["rgb"].mean(-3, keepdim=True) - 1, atol=1e-5)


@pytest.mark.parametrize("make", [kl, wan, ltx])
def test_changing_a_frame_changes_no_latent_before_its_group(make: Callable[[], nn.Module]) -> None:
    codec = DiffusersCodec(make())
    signals = clips(codec, groups=2)
    before = codec.encode(signals)
    signals["rgb"][:, codec.group + 1] = torch.rand_like(signals["rgb"][:, 0])
    after = codec.encode(signals)
    assert torch.equal(after[:, :2], before[:, :2]) and not torch.equal(after[:, 2], before[:, 2])


def test_videos_of_two_cameras_never_meet_in_a_latent_frame() -> None:
    codec = DiffusersCodec(wan())
    signals = {"rgb": torch.rand(10, 3, 16, 16), "depth": torch.randn(10, 1, 16, 16)}
    view, time_s = torch.arange(10) % 2, torch.arange(10).float() // 2
    grouping = Grouping.of(view, time_s, codec.group)
    latent = grouping.encode(codec, signals)
    assert torch.allclose(latent[:2], codec.encode({name: x[::2] for name, x in signals.items()}), atol=1e-6)
    changed = signals["rgb"].clone()
    changed[1::2] = torch.rand(5, 3, 16, 16)
    assert torch.equal(grouping.encode(codec, signals | {"rgb": changed})[:2], latent[:2])


def test_gradients_pass_through_frozen_weights() -> None:
    codec = DiffusersCodec(kl())
    signals = clips(codec)
    rgb = signals["rgb"].requires_grad_()
    codec.decode(codec.encode(signals))["rgb"].square().mean().backward()
    assert rgb.grad is not None and bool((rgb.grad != 0).any())
    assert not any(parameter.requires_grad for parameter in codec.parameters())


def test_frames_that_do_not_fill_blocks_or_groups_are_refused() -> None:
    codec = DiffusersCodec(wan())
    with pytest.raises(InputError, match="multiples of 8"):
        codec.encode({"rgb": torch.rand(1, 3, 16, 12), "depth": torch.rand(1, 1, 16, 12)})
    with pytest.raises(InputError, match=r"4 frames; expected 1 \+ a multiple of 4"):
        codec.encode({"rgb": torch.rand(4, 3, 16, 16), "depth": torch.rand(4, 1, 16, 16)})


def test_an_autoencoder_of_another_class_is_refused() -> None:
    with pytest.raises(InputError, match="class Linear"):
        DiffusersCodec(nn.Linear(1, 1))
    with pytest.raises(InputError, match="timestep_conditioning"):
        DiffusersCodec(ltx(timestep_conditioning=True))


@pytest.mark.parametrize("make", [kl, wan])
def test_a_saved_autoencoder_loads_as_it_was(make: Callable[[], Any], tmp_path: Path) -> None:
    vae = make()
    vae.save_pretrained(tmp_path / "vae")
    codec, loaded = DiffusersCodec(vae), DiffusersCodec.load(tmp_path, "vae")
    assert type(loaded.autoencoder) is type(vae)
    signals = clips(codec)
    assert torch.equal(loaded.encode(signals), codec.encode(signals))


def test_what_is_not_there_is_an_error_of_one_line(tmp_path: Path) -> None:
    for name in (str(tmp_path / "nothing"), "nobody/has-this-autoencoder"):
        with pytest.raises(InputError, match="hub and a network or a cache") as caught:
            DiffusersCodec.load(name, local_files_only=True)
        assert "\n" not in str(caught.value)


def test_a_folder_of_another_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderTiny"}))
    with pytest.raises(InputError, match="class AutoencoderTiny"):
        DiffusersCodec.load(tmp_path)


def test_without_diffusers_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InputError, match=r'pip install "worldgen\[diffusers\]"'):
        DiffusersCodec.load("anything")
