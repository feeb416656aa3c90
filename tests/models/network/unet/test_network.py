"""The second stage in one pass: what it returns, what it does not depend on, what it refuses."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.rotation.transforms import look_at
from tests.models.network.unet.small import CONFIG, shown, small_model, small_unet
from tests.models.tiny import awake, posed
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.unet.config import UNetConfig
from worldgen.models.network.unet.network import Details, MultiViewUNet, same_shape, two_modes
from worldgen.models.world_model import WorldModel

Inputs = tuple[Tensor, Tensor, Conditioning]


@pytest.fixture
def network() -> MultiViewUNet:
    return small_unet().eval()


def details(network: MultiViewUNet, inputs: Inputs) -> tuple[Tensor, Details]:
    found = network(*inputs, tap=0)
    assert isinstance(found, tuple)
    return found


def of_frames(inputs: Inputs, index: list[int]) -> Inputs:
    x, level, conditioning = inputs
    return x[:, index], level[:, index], conditioning.frames(index)


@pytest.mark.parametrize("hw", [(16, 16), (16, 64), (64, 16), (32, 48)])
@pytest.mark.parametrize("frames", [1, 3])
def test_frames_of_any_multiple_of_16_keep_their_shape(
    network: MultiViewUNet, hw: tuple[int, int], frames: int
) -> None:
    out, found = details(network, shown(2, frames, hw, known=1))
    assert out.shape == (2, frames, 4, *hw) and bool(out.isfinite().all())
    assert found.logits.shape == (2, frames, CONFIG.planes, hw[0] // 4, hw[1] // 4)
    assert found.inverse.shape == found.blend.looked_up.shape == (2, frames, 1, *hw)
    assert bool(((found.inverse >= 0) & (found.inverse <= CONFIG.nearest + 0.2)).all())


WRONG: list[tuple[Callable[[Inputs], Inputs], str]] = [
    (lambda i: (torch.zeros(1, 3, 4, 24, 16), *i[1:]), r"images of 16x24 pixels; expected multiples of 16"),
    (lambda i: (torch.zeros(1, 3, 4, 16, 8), *i[1:]), r"images of 8x16 pixels; expected multiples of 16"),
    (lambda i: (torch.zeros(1, 3, 4, 0, 16), *i[1:]), r"images of 16x0 pixels; expected multiples of 16"),
    (lambda i: (torch.zeros(1, 3, 5, 16, 16), *i[1:]), r"latent \(1, 3, 5, 16, 16\).*expected \[b, f, 4, h, w\]"),
    (lambda i: (torch.zeros(1, 2, 4, 16, 16), *i[1:]), r"latent \(1, 2, 4, 16, 16\) with cameras \(1, 3\)"),
    (lambda i: (i[0], torch.ones(1, 3, 1), i[2]), r"levels \(1, 3, 1\); expected \(1, 3, 2\)"),
    (lambda i: (*i[:2], replace(i[2], memory=torch.zeros(1, 3, 5, 16, 16))), r"a memory; expected none"),
    (
        lambda i: (*i[:2], replace(i[2], text=torch.zeros(1, 2, 6), text_mask=torch.ones(1, 2).bool())),
        r"text tokens of width 6; expected 0",
    ),
    (lambda i: (*i[:2], replace(i[2], coarse=torch.zeros(1, 3, 3, 8, 8))), r"coarse clip of 3 channels; expected 4"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_said_in_one_line(
    network: MultiViewUNet, wrong: Callable[[Inputs], Inputs], said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        network(*wrong(shown(1, 3)))
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("unchecked")
def test_processes_that_share_a_clip_are_refused() -> None:
    with pytest.raises(InputError, match=r"train.context_parallel\); expected 1 with a unet"):
        MultiViewUNet(CONFIG, context=object())  # type: ignore[arg-type]  # any will do


def test_one_call_does_not_depend_on_the_noise(network: MultiViewUNet) -> None:
    x, level, conditioning = shown(2, 3)
    other = x.clone()
    other[:, 2] = torch.randn(2, 4, 16, 16)
    other[:, :2, 3] = 5.0
    assert torch.equal(network(x, level, conditioning), network(other, level, conditioning))
    level[:, 2] = 0.9
    assert not torch.equal(network(x, level, conditioning), network(other, level, conditioning))


def test_known_frames_and_the_coarse_clip_count(network: MultiViewUNet) -> None:
    x, level, conditioning = shown(1, 3)
    base = network(x, level, conditioning)[:, 2]
    assert conditioning.coarse is not None
    changed = replace(conditioning, coarse=conditioning.coarse.roll(1, -1))
    other = x.clone()
    other[:, 0, :3] = x[:, 0, :3].roll(1, -1)
    for moved in (network(other, level, conditioning), network(x, level, changed)):
        assert not torch.allclose(moved[:, 2], base, atol=1e-3)


def test_the_order_of_new_frames_does_not_matter(network: MultiViewUNet) -> None:
    inputs = shown(2, 5)
    order = [0, 1, 4, 2, 3]
    torch.testing.assert_close(network(*of_frames(inputs, order)), network(*inputs)[:, order], atol=2e-5, rtol=1e-4)


def test_clips_of_a_batch_are_what_they_are_alone(network: MultiViewUNet) -> None:
    """Though they have different numbers of known frames, and one of them none."""
    x, level, conditioning = shown(3, 4)
    level[0, 1, 0], level[1, :, 0] = 1.0, 1.0
    together = network(x, level, conditioning)
    for clip in range(3):
        one = slice(clip, clip + 1)
        assert conditioning.coarse is not None
        alone = Conditioning.of(conditioning.cameras[one])
        alone = replace(alone, coarse=conditioning.coarse[one])
        torch.testing.assert_close(network(x[one], level[one], alone), together[one], atol=2e-5, rtol=1e-4)


def test_the_frame_of_the_world_does_not_matter() -> None:
    model = WorldModel.create(small_model()).training(False)
    awake(model.network, 0.1)
    cameras = posed(1, 3).cameras
    clip = Clip(torch.rand(1, 3, 3, 16, 16), torch.zeros(1, 3, 1, 16, 16), cameras)
    turn = look_at(torch.tensor([3.0, -2.0, 1.0]), torch.tensor([0.5, 4.0, 0.0]))
    made = []
    for seen in (clip, replace(clip, cameras=cameras.moved(turn))):
        encoded = model.encode(seen, torch.tensor([1.0]))
        made.append(model.network(encoded.latent, shown(1, 3)[1], encoded.conditioning))
    torch.testing.assert_close(made[0], made[1], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [0, 0, 1, 1], [3, 2, 1, 0]])
def test_later_frames_of_a_causal_order_do_not_change_earlier_ones(network: MultiViewUNet, order: list[int]) -> None:
    x, level, conditioning = shown(1, 4, known=0)
    level[:, [0, 2], 0] = 0
    cameras, numbers = conditioning.cameras, torch.tensor(order)
    conditioning = replace(conditioning, order=numbers[None])
    small = MultiViewUNet(replace(CONFIG, sources=1))
    small.load_state_dict(network.state_dict())
    for net in (network, small):
        base = net(x, level, conditioning)
        for last in range(4):
            later = numbers > numbers[last]
            if not later.any():
                continue
            other, other_level, time_s = x.clone(), level.clone(), cameras.time_s.clone()
            other[:, later], other_level[:, later] = torch.randn(1, int(later.sum()), 4, 16, 16), torch.zeros(2)
            time_s[:, later] += 0.01
            pose = cameras.world_from_camera.clone()
            pose[:, later] = posed(1, int(later.sum())).cameras.world_from_camera
            assert conditioning.coarse is not None
            coarse = conditioning.coarse.clone()
            coarse[:, later] = 0.9
            changed = replace(
                conditioning, cameras=replace(cameras, world_from_camera=pose, time_s=time_s), coarse=coarse
            )
            found = net(other, other_level, changed)
            torch.testing.assert_close(found[:, ~later], base[:, ~later], atol=1e-5, rtol=1e-4)
            assert not torch.allclose(found[:, later], base[:, later])


def test_dropped_cameras_do_not_matter(network: MultiViewUNet) -> None:
    x, level, conditioning = shown(1, 3)
    dropped = conditioning.without_cameras()
    pose = posed(1, 3).cameras.world_from_camera
    moved = replace(dropped, cameras=replace(dropped.cameras, world_from_camera=pose))
    torch.testing.assert_close(network(x, level, moved), network(x, level, dropped))
    assert not torch.allclose(network(x, level, dropped), network(x, level, conditioning))


def identical_cameras(inputs: Inputs) -> Inputs:
    x, level, conditioning = inputs
    return x, level, replace(conditioning, cameras=conditioning.cameras[:, [0, 0, 0]])


def no_overlap(inputs: Inputs) -> Inputs:
    poses = look_at(torch.zeros(3, 3), torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0]]))[None]
    return *inputs[:2], Conditioning.of(Cameras.from_fov(poses, 40.0, (16, 16)))


def all_sky(inputs: Inputs) -> Inputs:
    x, level, conditioning = inputs
    x[:, :, 3] = -1 / 0.5
    return x, torch.cat([level[..., :1], torch.zeros_like(level[..., 1:])], -1), conditioning


def on_the_camera(inputs: Inputs) -> Inputs:
    x, level, conditioning = inputs
    x[:, :, 3] = 1e4
    return x, torch.zeros_like(level), conditioning


HARD: dict[str, Callable[[Inputs], Inputs]] = {
    "identical cameras": identical_cameras,
    "no overlap": no_overlap,
    "no known frame": lambda i: (i[0], torch.ones_like(i[1]), i[2]),
    "nothing at all": lambda i: (i[0], torch.ones_like(i[1]), replace(i[2], coarse=None).without_cameras()),
    "all known": lambda i: (i[0], torch.zeros_like(i[1]), i[2]),
    "dropped cameras": lambda i: (*i[:2], i[2].without_cameras()),
    "sky alone": all_sky,
    "depth beyond all bounds": on_the_camera,
    "no coarse clip": lambda i: (*i[:2], replace(i[2], coarse=torch.full((1, 3, 4, 8, 8), torch.nan))),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_inputs_have_finite_results_and_gradients(name: str) -> None:
    network = small_unet().requires_grad_(True)
    out, found = details(network, HARD[name](shown(1, 3)))
    (out.square().mean() + found.logits.square().mean() + found.inverse.mean() + found.blend.blended.mean()).backward()
    assert bool(out.isfinite().all()) and bool(found.inverse.isfinite().all())
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())


def test_text_is_read_where_it_is_not_dropped() -> None:
    network = small_unet(replace(CONFIG, text_width=6)).eval()
    x, level, conditioning = shown(1, 3)
    plain = network(x, level, conditioning)
    text = replace(conditioning, text=torch.randn(1, 2, 6), text_mask=torch.ones(1, 2, dtype=torch.bool))
    told, dropped = network(x, level, text), network(x, level, text.without_text())
    assert bool(told.isfinite().all()) and bool(dropped.isfinite().all())
    assert not torch.allclose(told, plain) and not torch.allclose(told, dropped)


def loss_of(network: MultiViewUNet, inputs: Inputs) -> Tensor:
    out, found = details(network, inputs)
    return (out - 1).square().mean() + found.logits.square().mean() + (found.inverse - 1).abs().mean()


def test_gradients_reach_every_parameter() -> None:
    network = small_unet().requires_grad_(True)
    loss_of(network, shown(2, 3)).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_recomputed_blocks_have_the_same_gradients_for_less_memory() -> None:
    network = small_unet().requires_grad_(True)
    saving = MultiViewUNet(CONFIG, checkpointing=True).train()
    saving.load_state_dict(network.state_dict())
    inputs, kept = shown(2, 3), []
    for net in (network, saving):
        saved: list[int] = []

        def counted(tensor: Tensor, saved: list[int] = saved) -> Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(counted, lambda tensor: tensor):
            loss = loss_of(net, inputs)
        kept.append(sum(saved))
        loss.backward()
    for one, other in zip(network.parameters(), saving.parameters()):
        assert one.grad is not None and other.grad is not None and torch.equal(one.grad, other.grad)
    assert kept[1] < 0.5 * kept[0]


def test_half_precision_is_a_rounding(network: MultiViewUNet) -> None:
    inputs = shown(2, 3)
    full = network(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(*inputs).float()
    error = (full - half).square().mean().sqrt() / full.std()
    assert 0 < error < 0.1


@pytest.mark.usefixtures("unchecked")
def test_compiled_blocks_compute_the_same(network: MultiViewUNet) -> None:
    inputs = shown(1, 2)
    plain = network(*inputs)
    for block in network.blocks:
        block.compile(backend="eager")
    torch.testing.assert_close(network(*inputs), plain, atol=1e-5, rtol=1e-4)


def test_the_same_inputs_have_the_same_bits_and_a_tap_changes_none(network: MultiViewUNet) -> None:
    inputs = shown(2, 3)
    plain = network(*inputs)
    out, found = details(network, inputs)
    assert torch.equal(plain, network(*inputs)) and torch.equal(plain, out)
    torch.testing.assert_close(out[:, :, :3] * 0.5, found.blend.rgb)


def test_given_depth_is_the_result_s_and_the_surface_is_the_network_s_own(network: MultiViewUNet) -> None:
    for parameter in network.choice.parameters():
        torch.nn.init.zeros_(parameter[7:])  # how much the frame's own depth is trusted, beyond its level
    x, level, conditioning = shown(1, 3)
    level[:, 1, 1] = 0
    out, found = details(network, (x, level, conditioning))
    torch.testing.assert_close(out[:, 1, 3], x[:, 1, 3], atol=0.01, rtol=0.01)
    torch.testing.assert_close(out[:, 2, 3:] * 0.5 + 1, found.inverse[:, 2])


def test_surfaces_stay_between_the_sky_and_a_little_before_the_nearest_plane(network: MultiViewUNet) -> None:
    weight, bias = network.choice.parameters()
    for off, end in ((-1e3, 0.0), (1e3, CONFIG.nearest + 0.2)):
        torch.nn.init.constant_(bias[6:7], off)  # what is added to the hypotheses
        torch.nn.init.zeros_(weight[6:7])
        _, found = details(network, shown(1, 3))
        torch.testing.assert_close(found.inverse, torch.full_like(found.inverse, end))


def test_two_modes_are_the_likeliest_planes_that_are_apart() -> None:
    planes = torch.linspace(0, 3, 13)  # a quarter apart
    share = torch.full((13,), 1e-6)
    share[[3, 4, 9]] = torch.tensor([0.4, 0.3, 0.2])
    logits = share.log().view(1, 1, 13, 1, 1)
    modes, sure = two_modes(logits, planes)
    first = (0.4 * 0.75 + 0.3 * 1.0) / 0.7
    torch.testing.assert_close(modes.flatten(), torch.tensor([first, 2.25]), atol=1e-3, rtol=0)
    torch.testing.assert_close(sure.flatten(), torch.tensor([0.7, 0.2]) / 0.9, atol=1e-3, rtol=0)


def test_the_parts_left_out_of_an_ablation_look_nothing_up() -> None:
    """Without colors of sources, or without their features, or both; the weights stay the same."""
    inputs, whole = shown(1, 3), small_unet()
    found = {}
    for part in ((), ("volume",), ("blending",), ("look-up",), ("volume", "blending")):
        network = MultiViewUNet(replace(CONFIG, without=part))
        network.load_state_dict(whole.state_dict())
        found[part] = details(network, inputs)[1]
    looked_up = {part: bool(made.blend.looked_up.any()) for part, made in found.items()}
    assert looked_up == {
        (): True, ("volume",): True, ("blending",): False, ("look-up",): False, ("volume", "blending"): False,
    }  # fmt: skip
    assert torch.equal(found[("look-up",)].blend.rgb, found[("volume", "blending")].blend.rgb)
    assert torch.equal(found[()].logits, found[("blending",)].logits)
    assert torch.equal(found[("look-up",)].logits, found[("volume",)].logits)
    assert not torch.allclose(found[()].logits, found[("volume",)].logits)


def test_a_run_starts_from_the_same_shape_alone() -> None:
    network = small_unet()
    copy = same_shape(network, CONFIG)
    inputs = shown(1, 2)
    assert torch.equal(copy(*inputs), network(*inputs))
    with pytest.raises(InputError, match="it cannot grow"):
        same_shape(network, replace(CONFIG, planes=16))


def test_a_config_of_other_planes_and_sources_works() -> None:
    for options in ({"planes": 8}, {"sources": 1}, {"nearest": 1.0}, {"match_channels": (3, 2)}):
        network = small_unet(UNetConfig(widths=(8,) * 5, heads=1, **options))  # type: ignore[arg-type]
        assert bool(network(*shown(1, 3)).isfinite().all()), options
