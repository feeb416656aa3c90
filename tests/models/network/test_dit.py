"""What the network cannot depend on, what it must depend on, and how it starts and grows."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.rotation.transforms import rigid, rotation_about
from tests.models.tiny import CHANNELS, awake, posed, shown, tiny_config
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.attention import MultiViewAttention, token_positions
from worldgen.models.network.dit import DiTConfig, MultiViewDiT, level_waves


def network(**options) -> MultiViewDiT:
    return awake(MultiViewDiT(tiny_config(**options)))


def with_frame_moved(conditioning: Conditioning, frame: int) -> Conditioning:
    """The same with one frame's camera moved and turned."""
    pose = conditioning.cameras.world_from_camera.clone()
    turn = rigid(rotation_about(torch.tensor([1.0, 1.0, 0.0]), torch.tensor(0.5)), torch.tensor([0.3, 0.0, 0.2]))
    pose[:, frame] = turn @ pose[:, frame]
    return replace(conditioning, cameras=replace(conditioning.cameras, world_from_camera=pose))


def change(a: Tensor, b: Tensor) -> Tensor:
    """The largest change in each frame [f]."""
    return (a - b).abs().amax((0, 2, 3, 4))


def test_a_fresh_network_says_nothing() -> None:
    x, level = shown(2, 3)
    assert torch.equal(MultiViewDiT(tiny_config())(x, level, posed(2, 3)), torch.zeros_like(x))


def test_every_block_of_a_fresh_network_is_the_identity() -> None:
    fresh, conditioning, x = MultiViewDiT(tiny_config()), posed(2, 3), torch.randn(2, 3, 16, 32)
    hidden = torch.randn(2, 3, 16)
    modulation = fresh.modulate(hidden).unflatten(-1, (6, 32))
    where = token_positions(conditioning, (4, 4), 16, projective=True)
    for block in fresh.blocks:
        assert torch.equal(block(x, modulation, torch.randn(2, 3, 16, 6), where)[0], x)


def test_every_weight_of_a_fresh_network_learns_within_three_steps() -> None:
    fresh = MultiViewDiT(tiny_config())
    start = {name: value.clone() for name, value in fresh.state_dict().items()}
    optimizer = torch.optim.AdamW(fresh.parameters(), lr=1e-2, weight_decay=0.0)
    (x, level), conditioning = shown(2, 3), posed(2, 3)
    for _ in range(3):  # heads first, then gates, then what is behind them
        (fresh(x, level, conditioning) - x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert [name for name, value in fresh.state_dict().items() if torch.equal(value, start[name])] == []


def test_without_rays_the_choice_of_world_frame_does_not_matter() -> None:
    model, (x, level), conditioning = network(plucker=False), shown(2, 3), posed(2, 3)
    motion = rigid(rotation_about(torch.tensor([0.2, -1.0, 0.4]), torch.tensor(2.0)), torch.tensor([1.0, -2.0, 0.5]))
    moved = replace(conditioning, cameras=conditioning.cameras.moved(motion))
    out = model(x, level, conditioning)
    assert torch.allclose(model(x, level, moved), out, atol=1e-4)
    assert change(model(x, level, with_frame_moved(conditioning, 1)), out).min() > 1e-3


def test_attention_between_cameras_is_the_same_wherever_the_world_stands() -> None:
    attention, tokens, conditioning = MultiViewAttention(64, 2, within=False), torch.randn(2, 3, 16, 64), posed(2, 3)
    motion = rigid(rotation_about(torch.tensor([0.2, -1.0, 0.4]), torch.tensor(2.0)), torch.tensor([1.0, -2.0, 0.5]))
    moved = replace(conditioning, cameras=conditioning.cameras.moved(motion))
    out, again, other = (
        attention(tokens, token_positions(seen, (4, 4), 32, projective=True))[0]
        for seen in (conditioning, moved, with_frame_moved(conditioning, 1))
    )
    assert (again - out).abs().max() < 1e-5 < 1e-3 < (other - out).abs().max()


@pytest.mark.parametrize(("plucker", "prope"), [(True, True), (True, False), (False, True)])
def test_reordering_frames_reorders_the_output(plucker: bool, prope: bool) -> None:
    model, (x, level), conditioning = network(plucker=plucker, prope=prope), shown(2, 4), posed(2, 4)
    order = [2, 0, 3, 1]
    shuffled = replace(conditioning, cameras=conditioning.cameras[:, order])
    out = model(x, level, conditioning)
    assert torch.allclose(model(x[:, order], level[:, order], shuffled), out[:, order], atol=1e-5)
    assert not torch.allclose(model(x[:, order], level[:, order], conditioning), out[:, order], atol=1e-3)


@pytest.mark.parametrize(("plucker", "prope"), [(True, True), (True, False), (False, True)])
def test_moving_one_camera_changes_every_frame(plucker: bool, prope: bool) -> None:
    model, (x, level), conditioning = network(plucker=plucker, prope=prope), shown(2, 3), posed(2, 3)
    out = model(x, level, conditioning)
    assert change(model(x, level, with_frame_moved(conditioning, 1)), out).min() > 1e-3


def test_changing_a_focal_length_or_a_time_changes_every_frame() -> None:
    model, (x, level), conditioning = network(), shown(2, 3), posed(2, 3)
    K, time_s = conditioning.cameras.K.clone(), conditioning.cameras.time_s.clone()
    K[:, 1, :2, :2] *= 1.3
    time_s[:, 1] += 0.5
    out = model(x, level, conditioning)
    for cameras in (replace(conditioning.cameras, K=K), replace(conditioning.cameras, time_s=time_s)):
        assert change(model(x, level, replace(conditioning, cameras=cameras)), out).min() > 1e-4


def test_the_size_images_were_taken_at_does_not_matter_to_the_cameras() -> None:
    model, (x, level), conditioning = network(), shown(1, 2), posed(1, 2)
    larger = replace(conditioning, cameras=conditioning.cameras.resized((64, 64)))
    assert torch.allclose(model(x, level, larger), model(x, level, conditioning), atol=1e-5)


def test_a_clip_whose_cameras_are_dropped_does_not_depend_on_them() -> None:
    model, (x, level), conditioning = network(), shown(2, 3), posed(2, 3)
    other = replace(conditioning, cameras=replace(posed(2, 3).cameras, time_s=conditioning.cameras.time_s))
    dropped = model(x, level, conditioning.without_cameras())
    assert torch.equal(model(x, level, other.without_cameras()), dropped)
    assert change(model(x, level, conditioning), dropped).min() > 1e-3


def test_a_clip_whose_cameras_are_dropped_may_have_cameras_that_are_no_numbers() -> None:
    model, (x, level), conditioning = network(), shown(1, 2), posed(1, 2)
    cameras = conditioning.cameras
    unknown = replace(cameras, world_from_camera=torch.full_like(cameras.world_from_camera, torch.nan))
    out = model(x, level, replace(conditioning, cameras=unknown).without_cameras())
    assert torch.equal(out, model(x, level, conditioning.without_cameras()))


def test_each_clip_of_a_batch_drops_its_own_cameras() -> None:
    model, (x, level), conditioning = network(), shown(2, 3), posed(2, 3)
    mixed = model(x, level, replace(conditioning, cameras_known=torch.tensor([True, False])))
    assert torch.allclose(mixed[0], model(x, level, conditioning)[0], atol=1e-6)
    assert torch.allclose(mixed[1], model(x, level, conditioning.without_cameras())[1], atol=1e-6)


def test_attention_within_frames_keeps_them_independent() -> None:
    model, (x, level), conditioning = network(attention=("frame", "frame")), shown(2, 3), posed(2, 3)
    other_x, other_level = x.clone(), level.clone()
    other_x[:, 1], other_level[:, 1] = shown(2, 1)[0][:, 0], 0.3
    changed = change(model(other_x, other_level, with_frame_moved(conditioning, 1)), model(x, level, conditioning))
    assert changed[0] == 0 and changed[2] == 0 and changed[1] > 1e-3


def test_one_frame_s_pixels_or_one_modality_s_level_change_every_frame_of_its_clip_and_no_other_clip() -> None:
    model, (x, level), conditioning = network(), shown(2, 3), posed(2, 3)
    out = model(x, level, conditioning)
    for what, index in ((x, (0, 1, 5, 2, 2)), (level, (0, 1, 0)), (level, (0, 2, 1))):
        kept = what[index].clone()
        what[index] += 0.5
        again = model(x, level, conditioning)
        assert change(again[:1], out[:1]).min() > 1e-5 and torch.equal(again[1], out[1])
        what[index] = kept


@pytest.mark.parametrize(("batch", "frames", "hw"), [(1, 1, (4, 4)), (3, 2, (2, 6)), (1, 7, (1, 3))])
def test_any_size_and_number_of_frames_runs(batch: int, frames: int, hw: tuple[int, int]) -> None:
    (x, level), conditioning = shown(batch, frames, hw), posed(batch, frames, (4 * hw[0], 4 * hw[1]))
    out = network()(x, level, conditioning)
    assert out.shape == x.shape and bool(out.isfinite().all()) and out.std() > 1e-2


@pytest.mark.parametrize("modalities", [["rgb", "depth", "layout"], ["layout", "rgb", "depth"]])
def test_a_modality_added_to_a_checkpoint_leaves_every_old_output_bit(modalities: list[str]) -> None:
    old, (x, level), conditioning = network(), shown(2, 3), posed(2, 3)
    channels = {**CHANNELS, "layout": 5}
    grown = awake(MultiViewDiT(replace(old.config, modalities={name: channels[name] for name in modalities})))
    new = grown.load_state_dict(old.state_dict(), strict=False)
    assert new.unexpected_keys == [] and all(".layout." in name for name in new.missing_keys)
    for name in new.missing_keys:
        grown.get_parameter(name).zero_()
    parts = {"rgb": x[:, :, :48], "depth": x[:, :, 48:], "layout": torch.randn(2, 3, 5, 4, 4)}
    levels = {"rgb": level[..., :1], "depth": level[..., 1:], "layout": torch.rand(2, 3, 1)}
    out = grown(
        torch.cat([parts[name] for name in modalities], 2),
        torch.cat([levels[name] for name in modalities], 2),
        conditioning,
    )
    said = dict(zip(modalities, out.split([channels[name] for name in modalities], 2)))
    assert torch.equal(torch.cat([said["rgb"], said["depth"]], 2), old(x, level, conditioning))
    assert torch.equal(said["layout"], torch.zeros(2, 3, 5, 4, 4))


def test_a_tap_returns_the_tokens_that_leave_its_block_and_changes_no_output() -> None:
    model, (x, level), conditioning = network(attention=("full", "frame", "full")), shown(2, 3), posed(2, 3)
    out = model(x, level, conditioning)
    tapped = [model(x, level, conditioning, tap=block) for block in range(3)]
    assert all(torch.equal(estimate, out) for estimate, _ in tapped)
    inputs = []
    hook = model.blocks[2].register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    model(x, level, conditioning)
    hook.remove()
    assert torch.equal(tapped[1][1], inputs[0]) and tapped[0][1].shape == (2, 3, 16, 32)
    assert not torch.equal(tapped[1][1], tapped[2][1])


def test_levels_a_hundredth_apart_look_different() -> None:
    waves = level_waves(torch.linspace(0, 1, 101)[None, :, None])[0, :, 0]
    assert torch.pdist(waves).min() > 0.1


@pytest.mark.parametrize(
    "wrong",
    [{"width": 30}, {"width": 24, "heads": 2}, {"attention": ("full", "sideways")}, {"attention": ()}, {"heads": 0}],
)
def test_a_shape_that_cannot_be_built_is_refused_in_one_line(wrong: dict) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        DiTConfig(**{"width": 32, "heads": 2, **wrong})
    assert "\n" not in str(caught.value)
