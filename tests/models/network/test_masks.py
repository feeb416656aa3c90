"""Attention modes are masks over the same weights; causal equals cached; what is added later says nothing at first."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project
from geometry.camera.rays import ray_map
from geometry.errors import InputError
from tests.models.tiny import CHANNELS, awake, posed, shown, tiny_config
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.dit import MultiViewDiT, grow
from worldgen.models.network.masks import MODES, frame_mask, token_mask

ACROSS = [mode for mode in MODES if mode != "frame"]


def network(mode: str = "full", **options) -> MultiViewDiT:
    torch.manual_seed(0)
    return awake(MultiViewDiT(replace(tiny_config(attention=(mode, mode)), **options)))


def rig(batch: int, cameras: int, moments: int) -> Conditioning:
    """`cameras` physical cameras at `moments` times, all of camera 0 first."""
    conditioning = posed(batch, cameras * moments)
    view = torch.arange(cameras).repeat_interleave(moments).expand(batch, -1)
    time_s = 0.1 * torch.arange(moments).repeat(cameras).expand(batch, -1)
    return replace(conditioning, cameras=replace(conditioning.cameras, view=view, time_s=time_s))


def influence(mode: str, conditioning: Conditioning) -> Tensor:
    """[f, g]: whether frame f of one block's output changes when frame g's pixels do."""
    model = awake(MultiViewDiT(tiny_config(attention=(mode,))))
    x, level = shown(1, conditioning.cameras.shape[1])
    out, columns = model(x, level, conditioning), []
    for frame in range(x.shape[1]):
        other = x.clone()
        other[:, frame] += torch.randn_like(x[:, frame])
        columns.append((model(other, level, conditioning) - out).abs().amax((0, 2, 3, 4)) > 1e-6)
    return torch.stack(columns, 1)


def test_a_frame_sees_its_own_camera_or_moment_or_nearest_frames_by_mode() -> None:
    conditioning = rig(1, 3, 2)
    view, time_s = conditioning.cameras.view[0], conditioning.cameras.time_s[0]
    assert influence("full", conditioning).all()
    assert torch.equal(influence("frame", conditioning), torch.eye(6).bool())
    assert torch.equal(influence("time", conditioning), view[:, None] == view)
    assert torch.equal(influence("view", conditioning), time_s[:, None] == time_s)
    near = influence("neighbors", conditioning)
    assert near.sum(1).tolist() == [3] * 6 and near.diagonal().all()


@pytest.mark.parametrize("mode", ACROSS)
def test_one_frame_alone_looks_the_same_in_every_mode(mode: str) -> None:
    (x, level), conditioning = shown(2, 1), posed(2, 1)
    expected = network("frame")(x, level, conditioning)
    assert torch.allclose(network(mode)(x, level, conditioning), expected, atol=1e-5)


@pytest.mark.parametrize(("mode", "cameras", "moments"), [("time", 1, 4), ("view", 4, 1), ("neighbors", 1, 3)])
def test_one_camera_or_one_moment_or_few_frames_make_the_partial_modes_full(
    mode: str, cameras: int, moments: int
) -> None:
    (x, level), conditioning = shown(2, cameras * moments), rig(2, cameras, moments)
    expected = network("full")(x, level, conditioning)
    assert torch.allclose(network(mode)(x, level, conditioning), expected, atol=1e-5)


def test_an_epipolar_band_as_wide_as_the_image_is_full_attention() -> None:
    (x, level), conditioning = shown(2, 3), posed(2, 3)
    wide = network("epipolar", epipolar_band=100.0)(x, level, conditioning)
    assert torch.allclose(wide, network("full")(x, level, conditioning), atol=1e-5)
    narrow = network("epipolar", epipolar_band=0.7)(x, level, conditioning)
    assert not torch.allclose(wide, narrow, atol=1e-3)


@pytest.mark.parametrize("bent", [False, True])
def test_the_epipolar_mask_keeps_every_point_s_own_token_and_drops_most_others(bent: bool) -> None:
    conditioning = posed(1, 3)
    if bent:
        lens = Lens.of(LensKind.FISHEYE, torch.full((1, 3, 1), 0.05))
        fisheyes = Cameras.from_fov(conditioning.cameras.world_from_camera, 130.0, (16, 16), lens)
        conditioning = replace(conditioning, cameras=fisheyes)
    cameras = conditioning.cameras.resized((12, 12))
    origin, direction = ray_map(cameras)
    rays = torch.cat([direction, torch.linalg.cross(origin, direction)], -1).flatten(2, 3)
    pitch = 1 / cameras.K[..., 0, 0]
    seen = token_mask("epipolar", conditioning, conditioning, (rays, rays), pitch, 2, 1.5)
    assert seen is not None
    seen = seen[0, 0].unflatten(0, (3, 144)).unflatten(-1, (3, 144))
    points = origin[0, 0] + direction[0, 0] * torch.empty(12, 12, 1).uniform_(0.4, 1.6)
    for other in (1, 2):
        uv, depth = project(cameras[0, other], points.reshape(-1, 3))
        inside = ((uv >= 0) & (uv < 12)).all(-1) & (depth.reshape(-1) > 0)
        assert inside.sum() > 20
        column = (uv[inside].floor().long() * torch.tensor([1, 12])).sum(-1)
        assert bool(seen[0, inside.nonzero().squeeze(-1), other, column].all())
        assert seen[0, :, other].double().mean() < 0.5
    assert bool(seen[0, :, 0].all()), "a frame sees all of itself"


@pytest.mark.parametrize("mode", ACROSS)
def test_causal_frames_do_not_see_later_ones_and_remembered_frames_equal_shown_ones(mode: str) -> None:
    model, conditioning = network(mode), rig(2, 2, 2)
    order = [0, 2, 1, 3]  # time before camera, so that order and storage differ in what follows
    conditioning = replace(conditioning, cameras=conditioning.cameras[:, order]).causal()
    x, level = shown(2, 4)
    level[:, :3] = 0
    whole = model(x, level, conditioning)
    cache = model.append_to_cache(x[:, :2], conditioning.frames(slice(0, 2)))
    cache = model.append_to_cache(x[:, 2:3], conditioning.frames(slice(2, 3)), cache)
    last = model(x[:, 3:], level[:, 3:], conditioning.frames(slice(3, 4)), cache)
    assert torch.allclose(last, whole[:, 3:], atol=1e-5)
    other = x.clone()
    other[:, 3] += 1
    assert torch.allclose(model(other, level, conditioning)[:, :3], whole[:, :3], atol=1e-6)
    free = model(x, level, replace(conditioning, order=None))
    assert not torch.allclose(free[:, :3], whole[:, :3], atol=1e-3), "without an order frames see later ones"


def test_chunks_see_themselves_and_earlier_chunks() -> None:
    conditioning = posed(1, 5).causal(chunk=2)
    seen = frame_mask("full", conditioning, conditioning, 2)
    assert seen is not None and seen[0].int().tolist() == [[1, 1, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 0]] * 2 + [[1] * 5]


def test_what_is_added_to_a_network_changes_no_bit_until_it_is_trained_and_then_learns() -> None:
    old, (x, level), conditioning = network(), shown(2, 3), posed(2, 3)
    config = replace(old.config, modalities={**CHANNELS, "layout": 5}, memory_channels=7, text_width=8)
    grown = grow(old, config).requires_grad_(True)
    full = replace(
        conditioning,
        memory=torch.randn(2, 3, 7, 4, 4),
        text=torch.randn(2, 5, 8),
        text_mask=torch.tensor([[True] * 5, [True] * 2 + [False] * 3]),
    )
    x = torch.cat([x, torch.randn(2, 3, 5, 4, 4)], 2)
    level = torch.cat([level, torch.rand(2, 3, 1)], -1)
    out = grown(x, level, full)
    assert torch.equal(out[:, :, :-5], old(x[:, :, :-5], level[..., :-1], conditioning))
    out.square().mean().backward()
    added = {n: p for n, p in grown.named_parameters() if n not in old.state_dict()}
    for part in ("memory.weight", "embed.layout.weight", "blocks.0.attention.text_value.weight", "level.layout.weight"):
        gradient = added[part].grad
        assert gradient is not None and gradient.abs().max() > 0, part


def test_a_network_that_differs_in_more_than_added_parts_does_not_grow() -> None:
    old = network()
    for other in (replace(old.config, width=48), replace(old.config, attention=("full",)), tiny_config()):
        with pytest.raises(InputError, match="expected added parts only"):
            grow(old, other)


def test_dropped_text_and_empty_memory_say_nothing_and_padding_is_not_read() -> None:
    model = network(memory_channels=7, text_width=8)
    (x, level), conditioning = shown(2, 3), posed(2, 3)
    full = replace(
        conditioning,
        memory=torch.randn(2, 3, 7, 4, 4),
        text=torch.randn(2, 5, 8),
        text_mask=torch.tensor([[True] * 5, [True] * 2 + [False] * 3]),
    )
    plain, out = model(x, level, conditioning), model(x, level, full)
    assert torch.allclose(model(x, level, full.without_text().without_memory()), plain, atol=1e-6)
    assert (model(x, level, full.without_text()) - out).abs().amax((1, 2, 3, 4)).min() > 1e-3
    assert (model(x, level, full.without_memory()) - out).abs().amax((1, 2, 3, 4)).min() > 1e-3
    assert full.text is not None
    padded = full.text.clone()
    padded[1, 2:] = 9.0
    assert torch.allclose(model(x, level, replace(full, text=padded)), out, atol=1e-6)


def test_recomputed_blocks_give_the_same_gradients() -> None:
    config = tiny_config(attention=("full", "time", "frame"))
    plain = MultiViewDiT(config).train()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    recomputing = MultiViewDiT(config, checkpointing=True).train()
    recomputing.load_state_dict(plain.state_dict())
    (x, level), conditioning = shown(2, 3), rig(2, 1, 3)
    gradients = []
    for model in (plain, recomputing):
        model(x, level, conditioning).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(list(plain.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*gradients))


COMPILED = """
from dataclasses import replace
import torch
from tests.models.tiny import awake, posed, shown, tiny_config
from worldgen.models.network.dit import MultiViewDiT
from worldgen.models.network.masks import MODES

config = replace(tiny_config(attention=MODES), memory_channels=7, text_width=8)
model, (x, level), conditioning = awake(MultiViewDiT(config)), shown(1, 3), posed(1, 3).causal()
conditioning = replace(
    conditioning, memory=torch.randn(1, 3, 7, 4, 4), text=torch.randn(1, 5, 8), text_mask=torch.ones(1, 5).bool()
)
compiled = torch.compile(model, backend="eager", fullgraph=True)
assert torch.allclose(compiled(x, level, conditioning), model(x, level, conditioning), atol=1e-5)
"""


@pytest.mark.slow
def test_the_network_compiles_without_graph_breaks(root: Path) -> None:
    # In a process of its own: the shape checks of the tests are no part of the network.
    run = subprocess.run([sys.executable, "-c", COMPILED], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


def unequal(frames: int) -> list[tuple[str, dict]]:
    return [
        ("latent", {"x": torch.zeros(2, frames, 3, 4, 4)}),
        ("levels", {"level": torch.zeros(2, frames, 3)}),
        ("memory", {"memory": torch.zeros(2, frames, 7, 4, 4)}),
        ("text", {"text": torch.zeros(2, 5, 8), "text_mask": torch.ones(2, 5).bool()}),
    ]


@pytest.mark.parametrize(("what", "wrong"), unequal(3))
def test_shapes_that_do_not_belong_together_are_refused_by_name(what: str, wrong: dict) -> None:
    (x, level), conditioning = shown(2, 3), posed(2, 3)
    conditioning = replace(conditioning, **{n: v for n, v in wrong.items() if n not in ("x", "level")})
    with pytest.raises(InputError, match=f"{what}.*expected"):
        network()(wrong.get("x", x), wrong.get("level", level), conditioning)


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": torch.zeros(2, 4).long()},
        {"memory": torch.zeros(2, 4, 7, 4, 4)},
        {"text": torch.zeros(2, 5, 8)},
    ],
)
def test_conditioning_of_other_clips_is_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match="expected"):
        replace(posed(2, 3), **wrong)


def test_branches_join_as_one_batch() -> None:
    first, second = posed(2, 3), posed(1, 3)
    joined = Conditioning.cat([first, second.without_cameras()])
    assert joined.cameras.shape == (3, 3) and joined.cameras_known.tolist() == [True, True, False]
    assert torch.equal(joined.cameras.K[:2], first.cameras.K)
    assert torch.equal(joined.cameras.time_s[2:], second.cameras.time_s)
    with pytest.raises(InputError, match="order in some of the branches only"):
        Conditioning.cat([first.causal(), second])
    assert isinstance(joined.cameras, Cameras)
