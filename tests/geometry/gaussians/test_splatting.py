"""Images of 3D Gaussians: beside gsplat's numbers, and beside every Gaussian in every pixel."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file

from geometry.camera.cameras import Cameras
from geometry.gaussians import fast_splatting
from geometry.gaussians.rendering import render_splats
from geometry.gaussians.splats import Splats
from geometry.gaussians.splatting import blend_all_pairs, tile_lists
from geometry.optional import has_numba
from geometry.trajectory.paths import orbit
from tests.geometry.gaussians.test_splats import golden_splats, some_splats

needs_numba = pytest.mark.skipif(not has_numba(), reason="needs the [fast] extra")
BACKENDS = ["torch", pytest.param("numba", marks=needs_numba)]


def some_cameras(count: int = 2, hw: tuple[int, int] = (37, 50), dtype: torch.dtype = torch.float64) -> Cameras:
    """On a circle about the origin; some Gaussians are behind them or out of the image."""
    return Cameras.from_fov(orbit(torch.zeros(3), 2.5, 15.0, count), 55.0, hw).to(dtype)


def parts(splats: Splats) -> list[torch.Tensor]:
    """All its tensors, as leaves that want gradients."""
    return [part.detach().clone().requires_grad_() for part in vars(splats).values()]


@pytest.fixture
def golden(shared: Path) -> dict[str, torch.Tensor]:
    """gsplat's numbers."""
    return load_file(shared / "golden" / "gsplat.safetensors")


def test_images_are_the_golden_ones(golden) -> None:
    splats, cameras = golden_splats(golden)
    rgb, depth, alpha = render_splats(splats, cameras)
    with_background = render_splats(splats, cameras, golden["background"])[0]
    fine, _, fine_alpha = render_splats(splats, cameras, antialiased=True)
    assert golden["near_threshold_pixels"].sum() == 11
    clear = ~golden["near_threshold_pixels"]
    for ours, name in (
        (rgb, "rgb"),
        (alpha, "alpha"),
        (depth * alpha, "depth_accumulated"),
        (with_background, "rgb_with_background"),
        (fine, "rgb_antialiased"),
        (fine_alpha, "alpha_antialiased"),
    ):
        theirs = golden[name].unsqueeze(-1) if golden[name].ndim == 3 else golden[name]
        off = (ours.movedim(-3, -1) - theirs).abs()
        assert off[clear].max() < 1e-6, name
        assert off.max() < 0.02, name
    seen = clear & (golden["alpha"] > 1e-3)
    assert torch.allclose(depth[:, 0][seen], golden["depth_expected"][seen].double(), rtol=1e-5)


def test_gradients_of_the_definition_are_the_golden_ones(golden) -> None:
    splats, cameras = golden_splats(golden)
    leaves = parts(splats)
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(2):
        counted = (golden["radii"][i] > 0).all(-1)  # the file leaves out what reaches no pixel by more than 3.33 sigma
        rgb, _, alpha = blend_all_pairs(Splats(*(leaf[counted] for leaf in leaves)), cameras[i], exact=True)
        assert (rgb.movedim(0, -1) - golden["rgb_exact"][i]).abs().max() < 1e-6
        loss = loss + (rgb.movedim(0, -1) * golden["loss_weight_rgb"][i]).sum()
        loss = loss + (alpha[0] * golden["loss_weight_alpha"][i]).sum()
    loss.backward()
    for leaf, name in zip(leaves, ("means", "quats", "scales", "opacities", "sh")):
        assert leaf.grad is not None
        expected = golden[f"grad_{name}"]
        assert (leaf.grad - expected).abs().max() < 1e-9 * expected.abs().max(), name


@pytest.mark.parametrize("antialiased", [False, True])
def test_tiles_change_neither_images_nor_gradients(antialiased) -> None:
    splats, cameras = some_splats(150), some_cameras()
    splats = replace(splats, scales=splats.scales * torch.logspace(-2, 0.3, 150, dtype=torch.float64)[:, None])
    tiled, plain = parts(splats), parts(splats)
    pose = [cameras.world_from_camera.clone().requires_grad_() for _ in range(2)]
    ours = render_splats(Splats(*tiled), replace(cameras, world_from_camera=pose[0]), antialiased=antialiased)
    posed = replace(cameras, world_from_camera=pose[1])
    theirs = [torch.stack(x) for x in zip(*(blend_all_pairs(Splats(*plain), posed[i], antialiased) for i in range(2)))]
    theirs[1] = theirs[1] / theirs[2].clamp_min(1e-12)
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b, atol=1e-10)
    weights = [torch.randn_like(x) for x in ours]
    for answer in (ours, theirs):
        sum((x * w).sum() for x, w in zip(answer, weights)).backward()  # type: ignore[union-attr]
    for a, b in zip([*tiled, pose[0]], [*plain, pose[1]]):
        assert a.grad is not None and b.grad is not None and b.grad.abs().max() > 0
        assert (a.grad - b.grad).abs().max() < 1e-9 * b.grad.abs().max()


def test_gradients_are_the_differences_of_images() -> None:
    splats, cameras = some_splats(6, functions=4), some_cameras(1, (20, 24))
    assert torch.autograd.gradcheck(
        lambda *leaves: render_splats(Splats(*leaves), cameras), parts(splats), eps=1e-7, atol=1e-4, fast_mode=True
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hw", [(37, 50), (5, 3), (64, 16)])
def test_single_precision_gives_the_same_image_to_rounding(backend, hw) -> None:
    splats, cameras = some_splats(800, dtype=torch.float32), some_cameras(2, hw, torch.float32)
    ours = render_splats(splats, cameras, torch.tensor([0.2, 0.4, 0.6]), True, backend)
    theirs = render_splats(splats.to(torch.float64), cameras, torch.tensor([0.2, 0.4, 0.6]), True)
    for a, b in zip(ours, theirs):
        off = (a - b).abs() / b.abs().clamp_min(1)
        # A Gaussian that counts in one precision and not in the other moves a pixel by up to 1/255.
        assert off.max() < 0.02 and off.quantile(0.99) < 1e-5 and a.shape == b.shape


@needs_numba
def test_numba_is_used_where_it_can_be_and_is_torch_to_rounding(monkeypatch) -> None:
    splats, cameras = some_splats(500, dtype=torch.float32), some_cameras(3, dtype=torch.float32)
    calls = []
    blend = fast_splatting.blend_cpu
    monkeypatch.setattr(fast_splatting, "blend_cpu", lambda *a: calls.append(1) or blend(*a))
    fast = render_splats(splats, cameras)
    assert len(calls) == 3
    for a, b in zip(fast, render_splats(splats, cameras, backend="torch")):
        assert (a - b).abs().max() < 0.02 and (a - b).abs().quantile(0.99) < 1e-5
    render_splats(Splats(*parts(splats)), cameras)
    assert len(calls) == 6
    render_splats(splats.to(torch.float64), cameras)
    assert len(calls) == 6


def gradients(splats: Splats, cameras: Cameras, backend: Literal["torch", "numba"], dtype: torch.dtype) -> list:
    """Of a random weighting of all that is seen, in every part of the Gaussians."""
    leaves = parts(splats.to(dtype))
    seen = render_splats(Splats(*leaves), cameras, torch.tensor([0.2, 0.4, 0.6]), backend=backend)
    draw = torch.Generator().manual_seed(1)
    sum((layer * torch.randn(layer.shape, generator=draw).to(dtype)).sum() for layer in seen).backward()  # type: ignore[union-attr]
    return [leaf.grad for leaf in leaves]


@needs_numba
@pytest.mark.parametrize(("hw", "count"), [((37, 50), 100), ((64, 16), 800), ((5, 3), 50)])
def test_gradients_of_numba_are_those_of_torch(hw, count) -> None:
    splats, cameras = some_splats(count, dtype=torch.float32), some_cameras(2, hw, torch.float32)
    splats.opacities[::7] = 1.0  # more than can be hidden, at their middles
    numba = gradients(splats, cameras, "numba", torch.float32)
    for dtype in (torch.float32, torch.float64):
        for a, b in zip(numba, gradients(splats, cameras, "torch", dtype)):
            assert (a - b).abs().max() < 1e-4 * b.abs().max() and (a - b).norm() < 1e-4 * b.norm()


@needs_numba
def test_gradients_of_numba_are_near_the_golden_ones_which_skip_nothing(golden) -> None:
    splats, cameras = golden_splats(golden)
    leaves = parts(splats.to(torch.float32))
    rgb, _, alpha = render_splats(Splats(*leaves), cameras, backend="numba")
    loss = (rgb.movedim(1, -1) * golden["loss_weight_rgb"]).sum() + (alpha[:, 0] * golden["loss_weight_alpha"]).sum()
    loss.backward()
    for leaf, name in zip(leaves, ("means", "quats", "scales", "opacities", "sh")):
        expected = golden[f"grad_{name}"].float()
        assert leaf.grad is not None and (leaf.grad - expected).norm() < 0.06 * expected.norm(), name


@needs_numba
def test_the_number_of_threads_changes_no_bit() -> None:
    splats, cameras = some_splats(500, dtype=torch.float32), some_cameras(1, (80, 70), torch.float32)
    one = [*render_splats(splats, cameras), *gradients(splats, cameras, "numba", torch.float32)]
    torch.set_num_threads(3)
    try:
        three = [*render_splats(splats, cameras), *gradients(splats, cameras, "numba", torch.float32)]
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(one, three))


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_gaussian_is_a_gaussian(backend) -> None:
    pose = torch.eye(4)
    camera = Cameras(pose, torch.tensor([[100.0, 0, 20], [0, 100, 10], [0, 0, 1]]), (20, 40))
    color = torch.tensor([0.9, 0.5, 0.1])
    one = Splats(
        torch.tensor([[0.0, 0.0, 2.0]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.tensor([[0.06, 0.04, 0.5]]),
        torch.tensor([0.7]),
        ((color - 0.5) / 0.28209479)[None, None],
    )
    rgb, depth, alpha = render_splats(one, camera, backend=backend)
    x, y = torch.arange(40) + 0.5 - 20, torch.arange(20)[:, None] + 0.5 - 10
    expected = 0.7 * torch.exp(-(x**2) / (2 * (3**2 + 0.3)) - y**2 / (2 * (2**2 + 0.3)))
    expected = torch.where(expected < 1 / 255, 0, expected)
    assert torch.allclose(alpha[0], expected, atol=1e-6)
    assert torch.allclose(rgb, alpha * color[:, None, None], atol=1e-6)
    assert torch.allclose(depth[0], torch.where(expected > 0, 2.0, 0.0), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_to_see_is_the_background(backend) -> None:
    splats, camera = some_splats(5, dtype=torch.float32), some_cameras(1, dtype=torch.float32)
    for nothing in (
        Splats(*(part[:0] for part in vars(splats).values())),
        replace(splats, opacities=torch.zeros(5)),
        replace(splats, means=splats.means + 1000 * camera.centers[0]),
    ):
        rgb, depth, alpha = render_splats(nothing, camera, torch.tensor([0.1, 0.2, 0.3]), backend=backend)
        assert torch.equal(rgb, torch.tensor([0.1, 0.2, 0.3])[:, None, None].expand(1, 3, 37, 50))
        assert depth.abs().max() == 0 and alpha.abs().max() == 0
    assert render_splats(splats, camera[:0], backend=backend)[0].shape == (0, 3, 37, 50)
    leaves = parts(replace(splats, opacities=torch.zeros(5)))
    render_splats(Splats(*leaves), camera)[0].sum().backward()
    assert all(leaf.grad is not None and leaf.grad.abs().max() == 0 for leaf in leaves)


def test_each_tile_lists_who_reaches_it_in_order() -> None:
    box = torch.tensor([[0, 2, 0, 1], [1, 3, 0, 2], [2, 3, 1, 2], [0, 3, 0, 2]])
    who, start, length = tile_lists(box, (2, 3))
    lists = [who[s : s + n].tolist() for s, n in zip(start.tolist(), length.tolist())]
    assert lists == [[0, 3], [0, 1, 3], [1, 3], [3], [1, 3], [1, 2, 3]]


def test_cuda_without_gsplat_is_one_clear_error(refused) -> None:
    splats, camera = some_splats(5, dtype=torch.float32), some_cameras(1, dtype=torch.float32)
    with refused("gsplat"):
        render_splats(splats, camera, backend="gsplat")
