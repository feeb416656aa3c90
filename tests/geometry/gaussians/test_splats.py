"""3D Gaussians: frame changes, harmonics, and their footprints beside the numbers of gsplat."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scipy.special import sph_harm_y

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project
from geometry.gaussians.harmonics import harmonic_basis, rotate_harmonics, spherical_harmonics
from geometry.gaussians.projection import footprints
from geometry.gaussians.splats import Splats
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import rigid

DOUBLE = torch.float64


def some_splats(count: int = 30, functions: int = 16, dtype: torch.dtype = DOUBLE) -> Splats:
    """Random Gaussians about the origin."""
    return Splats(
        torch.randn(count, 3, dtype=dtype),
        torch.randn(count, 4, dtype=dtype),
        torch.rand(count, 3, dtype=dtype) * 0.3 + 0.02,
        torch.rand(count, dtype=dtype) * 0.9 + 0.05,
        torch.randn(count, functions, 3, dtype=dtype) * 0.3,
    )


def some_motion(dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    """A random rigid motion [4, 4]."""
    return rigid(matrix_from_quaternion_wxyz(torch.randn(4, dtype=dtype)), torch.randn(3, dtype=dtype))


def golden_splats(golden: dict[str, torch.Tensor]) -> tuple[Splats, Cameras]:
    """gsplat's inputs in double precision."""
    parts = (golden[name].double() for name in ("means", "quats_wxyz", "scales", "opacities", "sh"))
    rotation, translation = golden["viewmats"].double().split([3, 1], -1)
    rotation, translation = rotation[:, :3], translation[:, :3]
    # These rotations are exact to float32 only: the center is solved for, so that the way back gives their numbers.
    centers = -torch.linalg.solve(rotation, translation).squeeze(-1)
    return Splats(*parts), Cameras(rigid(rotation.transpose(-1, -2), centers), golden["K"].double(), (64, 64))


@pytest.fixture
def golden(shared: Path) -> dict[str, torch.Tensor]:
    """gsplat's numbers."""
    return load_file(shared / "golden" / "gsplat.safetensors")


def test_the_basis_is_scipys_real_harmonics() -> None:
    direction = torch.randn(50, 3, dtype=DOUBLE)
    unit = torch.nn.functional.normalize(direction, dim=-1)
    polar, azimuth = unit[:, 2].acos().numpy(), torch.atan2(unit[:, 1], unit[:, 0]).numpy()
    basis = harmonic_basis(direction, 3)
    for degree in range(4):
        for order in range(-degree, degree + 1):
            complex_one = sph_harm_y(degree, abs(order), polar, azimuth)  # with the Condon-Shortley phase
            part = complex_one.real if order >= 0 else complex_one.imag
            expected = torch.from_numpy(part) * (math.sqrt(2) if order else 1)
            assert torch.allclose(basis[:, degree**2 + degree + order], expected, atol=1e-12), (degree, order)


@pytest.mark.parametrize("functions", [1, 4, 9, 16])
def test_the_color_seen_from_a_rotated_direction_is_the_same(functions) -> None:
    harmonics, direction = torch.randn(40, functions, 3, dtype=DOUBLE), torch.randn(40, 3, dtype=DOUBLE)
    turn = some_motion()[:3, :3]
    turned = spherical_harmonics(rotate_harmonics(harmonics, turn), direction @ turn.T)
    assert torch.allclose(turned, spherical_harmonics(harmonics, direction), atol=1e-12)


def test_degrees_do_not_mix_and_turns_compose() -> None:
    harmonics = torch.zeros(1, 16, 3, dtype=DOUBLE)
    harmonics[:, 4:9] = torch.randn(5, 3, dtype=DOUBLE)
    first, second = some_motion()[:3, :3], some_motion()[:3, :3]
    once = rotate_harmonics(rotate_harmonics(harmonics, first), second)
    assert torch.allclose(once, rotate_harmonics(harmonics, second @ first), atol=1e-12)
    assert once[:, :4].abs().max() == 0 and once[:, 9:].abs().max() == 0


@pytest.mark.parametrize("functions", [1, 4, 9, 16])
def test_moved_and_scaled_splats_look_the_same_to_cameras_that_moved_along(functions) -> None:
    splats, motion = some_splats(functions=functions), some_motion()
    pose = some_motion() @ rigid(torch.eye(3).double(), torch.tensor([0.0, 0.0, -6.0]).double())
    cameras = Cameras.from_fov(pose[None], 50.0, (30, 40))
    before, after = footprints(splats, cameras), footprints(splats.moved(motion), cameras.moved(motion))
    for name in ("means", "covariances", "depths"):
        assert torch.allclose(getattr(after, name), getattr(before, name), atol=1e-9), name
    seen = splats.moved(motion).colors_from(cameras.moved(motion).centers[0])
    assert torch.allclose(seen, splats.colors_from(cameras.centers[0]), atol=1e-12)
    larger = footprints(splats.scaled(3.0), cameras.scaled(3.0))
    assert torch.allclose(larger.covariances, before.covariances) and torch.allclose(larger.means, before.means)
    assert torch.allclose(larger.depths, 3 * before.depths)


def test_footprints_and_colors_are_gsplats(golden) -> None:
    splats, cameras = golden_splats(golden)
    seen = footprints(splats, cameras)
    assert torch.allclose(splats.covariances, golden["covars"], rtol=0, atol=1e-14)
    ahead = golden["depths"] > 0.01
    assert torch.allclose(seen.depths, golden["means_cam"][..., 2], rtol=0, atol=1e-13)
    assert torch.allclose(seen.means[ahead], golden["means2d"][ahead], rtol=1e-12, atol=1e-10)
    assert torch.allclose(seen.conics[ahead], golden["conics"][ahead], rtol=1e-10, atol=1e-13)
    assert torch.allclose(seen.compensations[ahead], golden["compensations"][ahead], rtol=0, atol=1e-12)
    sigma = seen.covariances.diagonal(dim1=-2, dim2=-1).sqrt()
    shown = (golden["radii"] > 0).all(-1)
    assert shown.sum() > 300 and torch.equal((3.33 * sigma[shown]).ceil().int(), golden["radii"][shown])
    for degree in range(4):
        harmonics = splats.harmonics[:, : (degree + 1) ** 2]
        part = Splats(splats.means, splats.quaternions_wxyz, splats.scales, splats.opacities, harmonics)
        colors = torch.stack([part.colors_from(center) for center in cameras.centers])
        assert torch.allclose(colors, golden[f"colors_degree{degree}"], rtol=0, atol=1e-12)


def test_footprints_have_the_slopes_of_the_projection_inside_the_image() -> None:
    splats = some_splats(8)
    cameras = Cameras.from_fov(rigid(torch.eye(3).double(), torch.tensor([0.0, 0.0, -5.0]).double()), 80.0, (30, 40))
    cameras.K[0, 1] = 3.0  # a skewed sensor
    slopes = torch.autograd.functional.jacobian(lambda points: project(cameras, points)[0].sum(0), splats.means)
    steps = slopes.movedim(1, 0)  # each point moves its own pixel alone
    expected = steps @ splats.covariances @ steps.transpose(-1, -2) + 0.3 * torch.eye(2).double()
    assert torch.allclose(footprints(splats, cameras).covariances, expected, atol=1e-9)


def test_what_does_not_fit_together_is_refused(refused, unchecked) -> None:
    good = some_splats(5)
    with refused("opacities", "(4,)"):
        Splats(good.means, good.quaternions_wxyz, good.scales, good.opacities[:4], good.harmonics)
    with refused("5 spherical harmonics"):
        Splats(good.means, good.quaternions_wxyz, good.scales, good.opacities, good.harmonics[:, :5])
    wide = Cameras.from_fov(torch.eye(4)[None], 180.0, (8, 8), Lens.of(LensKind.FISHEYE, torch.zeros(1, 2)))
    with refused("splats", "FISHEYE"):
        footprints(good.to(torch.float32), wide)
