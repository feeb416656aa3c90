"""diffusers' video transformers behind our sampler, on tiny ones of the same classes with random weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.rotation.transforms import invert_rigid, look_at, rigid, rotation_about
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.diffusers_denoiser import DiffusersDenoiser
from worldgen.sampling import Euler, Guidance, Levels, guide, sample

diffusers: Any = pytest.importorskip("diffusers")
C, F, H, W, TEXT = 4, 3, 4, 6, 16


def wan(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    shape = {"in_channels": C, "out_channels": C} | options
    return diffusers.WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, text_dim=TEXT, freq_dim=16, ffn_dim=32, num_layers=2, **shape
    )


def sana() -> nn.Module:
    torch.manual_seed(0)
    network = diffusers.SanaWMTransformer3DModel(
        in_channels=C, num_layers=2, hidden_size=48, num_attention_heads=2, softmax_every_n=2, linear_head_dim=24,
        caption_channels=TEXT, chunk_plucker_channels=48,
    )  # fmt: skip
    for parameter in network.parameters():  # those that start at zero would hide the cameras
        nn.init.normal_(parameter, std=0.05)
    return network


NETWORKS = [wan, sana]


def cameras(batch: int = 1) -> Cameras:
    eye = torch.tensor([[2.0, 0.0, 0.5], [1.9, 0.5, 0.5], [1.7, 1.0, 0.6]])
    around = Cameras.from_fov(look_at(eye, torch.zeros(3)), 50.0, (8 * H, 8 * W))
    return around.moved(invert_rigid(around.world_from_camera[0]))[None][[0] * batch]


def latents(batch: int = 1) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, F, C, H, W), torch.tensor([0.0, 0.6, 1.0]).expand(batch, -1)[..., None]


@pytest.mark.parametrize("make", NETWORKS)
def test_the_sampler_and_its_guidance_run_on_a_foreign_network(make: Callable[[], nn.Module]) -> None:
    denoiser, (known, _) = DiffusersDenoiser(make()), latents()
    noise = torch.randn_like(known)
    given = torch.tensor([[True], [False], [False]])
    guided = guide(denoiser, Guidance(image=2.0), noise)
    levels = Levels.given(given, 4)
    *_, last = sample(guided, known, noise, levels, Conditioning.of(cameras()), Euler())
    assert torch.equal(last.x[:, 0], known[:, 0])
    assert bool(last.x.isfinite().all()) and not torch.allclose(last.x[:, 1:], noise[:, 1:], atol=0.1)


@pytest.mark.parametrize("make", NETWORKS)
def test_every_latent_frame_is_seen_at_its_own_level(make: Callable[[], nn.Module]) -> None:
    denoiser, (x, level) = DiffusersDenoiser(make()), latents()
    conditioning = Conditioning.of(cameras())
    changed = level.clone()
    changed[:, 1] = 0.3
    before, after = denoiser(x, level, conditioning), denoiser(x, changed, conditioning)
    velocity = ((x - y) / t[..., None, None].clamp_min(1e-6) for y, t in ((before, level), (after, changed)))
    first, second = (v[:, 1:] for v in velocity)
    assert not torch.allclose(first, second, atol=1e-4)  # of the frame itself, and of the one that sees it
    assert torch.equal(before[:, 0], x[:, 0])


@pytest.mark.parametrize("make", NETWORKS)
def test_sampling_is_what_the_librarys_own_loop_does(make: Callable[[], nn.Module]) -> None:
    network = make()
    noise, _ = latents()
    conditioning = Conditioning.of(cameras()).without_cameras()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(5)
    x = noise.transpose(1, 2)
    empty = torch.zeros(1, 300, TEXT)
    with torch.no_grad():
        for time in scheduler.timesteps:
            if make is wan:
                velocity = network(x, time.expand(1), empty, return_dict=False)[0]
            else:
                velocity = network(x, time.expand(1, 1, F), empty[:, None], mask=torch.ones(1, 300), return_dict=False)[
                    0
                ]
            x = scheduler.step(velocity, time, x, return_dict=False)[0]
        rows = scheduler.sigmas[:, None, None].expand(-1, F, 1).contiguous()
        *_, last = sample(DiffusersDenoiser(network), noise, noise, Levels(rows), conditioning, Euler())
    assert torch.allclose(last.x, x.transpose(1, 2), atol=2e-5)


def test_cameras_reach_the_network_as_its_own_pipeline_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.pipelines.sana_wm.cam_utils import prepare_camera

    # A camera that turns and moves evenly, so that all images of a latent frame are known.
    count = 8 * (F - 1) + 1
    step = torch.arange(count).double()
    turn = rotation_about(torch.tensor([[0.1, 1.0, 0.2]]).double().expand(count, 3), 0.03 * step)
    poses = rigid(turn, step[:, None] * torch.tensor([0.02, -0.01, 0.05]).double()).float()
    pinhole = Cameras.from_fov(poses, 60.0, (32 * H, 32 * W))
    lens = torch.stack([pinhole.K[:, i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))], -1)
    wanted = prepare_camera(poses.numpy(), lens.numpy(), target_size=(32 * H, 32 * W), vae_stride=(8, 32, 32))
    network = sana()
    seen: dict[str, Tensor] = {}

    def spy(video: Tensor, *_: Any, **given: Any) -> tuple[Tensor]:
        seen.update({name: given[name] for name in ("camera_conditions", "chunk_plucker")})
        return (torch.zeros_like(video),)

    monkeypatch.setattr(network, "forward", spy)
    x, level = latents()
    DiffusersDenoiser(network)(x, level, Conditioning.of(pinhole[None, ::8]))
    assert torch.allclose(seen["camera_conditions"][0], wanted["raymap"], atol=1e-5)
    assert torch.allclose(seen["chunk_plucker"][0], wanted["chunk_plucker"], atol=1e-5)


def test_cameras_steer_and_clips_with_and_without_them_share_a_batch() -> None:
    denoiser, (x, level) = DiffusersDenoiser(sana()), latents(2)
    shot = Conditioning.of(cameras(2))
    mixed = Conditioning(shot.cameras, torch.tensor([True, False]))
    together = denoiser(x, level, mixed)
    with_all, with_none = denoiser(x, level, shot), denoiser(x, level, shot.without_cameras())
    assert torch.allclose(together[0], with_all[0], atol=1e-5) and torch.allclose(together[1], with_none[1], atol=1e-5)
    assert not torch.allclose(with_all, with_none, atol=1e-3)
    moved = Cameras(shot.cameras.world_from_camera.clone(), shot.cameras.K, shot.cameras.hw)
    moved.world_from_camera[:, 2, :3, 3] += 1
    assert not torch.allclose(denoiser(x, level, Conditioning.of(moved)), with_all, atol=1e-4)
    # Where the world's axes are is nobody's business.
    turned = shot.cameras.moved(rigid(rotation_about(torch.tensor([0.0, 1.0, 0.0]), torch.tensor(0.7)), torch.ones(3)))
    assert torch.allclose(denoiser(x, level, Conditioning.of(turned)), with_all, atol=1e-4)


@pytest.mark.parametrize("make", NETWORKS)
def test_texts_are_read_and_dropped_ones_are_no_text(make: Callable[[], nn.Module]) -> None:
    denoiser, (x, level) = DiffusersDenoiser(make()), latents()
    tokens = torch.randn(1, 5, TEXT)
    said = Conditioning(cameras(), torch.ones(1, dtype=torch.bool), text=tokens, text_mask=torch.ones(1, 5).bool())
    other = Conditioning(cameras(), said.cameras_known, text=-tokens, text_mask=said.text_mask)
    assert not torch.allclose(denoiser(x, level, said), denoiser(x, level, other), atol=1e-4)
    assert torch.equal(denoiser(x, level, said.without_text()), denoiser(x, level, other.without_text()))


@pytest.mark.parametrize("make", NETWORKS)
def test_gradients_reach_the_frames_through_frozen_weights(make: Callable[[], nn.Module]) -> None:
    denoiser, (x, level) = DiffusersDenoiser(make()), latents()
    denoiser(x.requires_grad_(), level, Conditioning.of(cameras()))[:, 2].square().sum().backward()
    assert x.grad is not None and bool((x.grad[:, 0] != 0).any())
    assert not any(parameter.requires_grad for parameter in denoiser.transformer.parameters())


@pytest.mark.parametrize("make", NETWORKS)
def test_a_saved_transformer_loads_as_it_was(make: Callable[[], Any], tmp_path: Path) -> None:
    if make is wan:
        pytest.importorskip("accelerate", reason="diffusers loads networks that stay in float32 in part with it")
    network = make()
    network.save_pretrained(tmp_path / "transformer")
    x, level = latents()
    ours, loaded = DiffusersDenoiser(network), DiffusersDenoiser.load(tmp_path)
    assert torch.equal(ours(x, level, Conditioning.of(cameras())), loaded(x, level, Conditioning.of(cameras())))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="class Linear; expected one of Wan"):
        DiffusersDenoiser(nn.Linear(1, 1))
    with pytest.raises(InputError, match="20 channels in and 4 out"):
        DiffusersDenoiser(wan(in_channels=20))
    (x, level), conditioning = latents(), Conditioning.of(cameras())
    denoiser = DiffusersDenoiser(wan())
    with pytest.raises(InputError, match="of 8 channels with 1 levels each; expected 4"):
        denoiser(torch.cat([x, x], 2), level, conditioning)
    with pytest.raises(InputError, match=r"text tokens of width 3; expected 16"):
        text, mask = torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool)
        denoiser(x, level, Conditioning(conditioning.cameras, conditioning.cameras_known, text=text, text_mask=mask))
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(InputError, match="class UNet2DModel"):
        DiffusersDenoiser.load(tmp_path, subfolder=None)
