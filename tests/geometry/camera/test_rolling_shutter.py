"""Rolling shutter: each pixel's ray starts from where the camera was when its row was read."""

from typing import Literal

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project
from geometry.camera.rays import plucker_of, ray_map
from geometry.camera.rolling_shutter import RollingShutter, rolling_project, rolling_ray_map
from geometry.rotation.transforms import rigid, rotation_about

Side = Literal["top", "bottom", "left", "right"]
BATCHES = st.sampled_from([(), (1,), (3, 1, 2)])


def recorded(
    batch: tuple[int, ...], seed: int, first: Side = "top", fisheye: bool = False
) -> tuple[Cameras, RollingShutter]:
    """Cameras that drive at 10 m/s and turn at a radian a second while 30 ms pass."""
    torch.manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn((*batch, *shape), dtype=torch.float64)

    pose = rigid(rotation_about(normal(3), normal()), normal(3))
    lens = Lens.of(LensKind.FISHEYE, 0.02 * normal(2)) if fisheye else None
    velocity, turning = (torch.nn.functional.normalize(normal(3), dim=-1) for _ in range(2))
    readout = torch.full(batch, 0.03, dtype=torch.float64)
    return Cameras.from_fov(pose, 70.0, (12, 16), lens), RollingShutter(10 * velocity, turning, readout, first)


@settings(max_examples=12)
@given(BATCHES, st.integers(0, 2**31), st.sampled_from(["top", "bottom", "left", "right"]), st.booleans())
def test_a_point_along_a_pixels_ray_is_seen_at_that_pixel(batch, seed, first, fisheye) -> None:
    cameras, shutter = recorded(batch, seed, first, fisheye)
    origins, directions = rolling_ray_map(cameras, shutter)
    points = (origins + 20 * directions).flatten(-3, -2)
    uv, depth = rolling_project(cameras, shutter, points)
    center = torch.cartesian_prod(torch.arange(12.0), torch.arange(16.0)).flip(-1).double() + 0.5
    assert bool((depth > 0).all()) and torch.allclose(uv, center.expand_as(uv), atol=1e-6)
    still, _ = project(cameras, points)
    assert float((still - uv).norm(dim=-1).mean()) > 1e-3, "the motion is seen"


def test_rows_are_seen_from_where_constant_motion_takes_the_camera() -> None:
    cameras, shutter = recorded((), 1)
    origins, directions = rolling_ray_map(cameras, shutter)
    for row in (0, 3, 11):
        time = 0.03 * ((row + 0.5) / 12 - 0.5)
        turn = rotation_about(shutter.turning, shutter.turning.norm() * time)
        pose = rigid(turn @ cameras.world_from_camera[:3, :3], cameras.centers + shutter.velocity * time)
        origin, direction = ray_map(Cameras(pose, cameras.K, cameras.hw))
        assert torch.allclose(origins[row], origin[row]) and torch.allclose(directions[row], direction[row])
    moment = plucker_of(origins, directions)[3:].movedim(0, -1)
    assert torch.allclose(moment, torch.linalg.cross(origins + 3 * directions, directions))


def test_a_still_camera_or_an_instant_readout_is_a_global_shutter() -> None:
    cameras, shutter = recorded((2,), 2)
    points = cameras.centers[:, None] + 5 * ray_map(cameras)[1].flatten(1, 2)
    zero = torch.zeros(2, 3, dtype=torch.float64)
    for none in (
        RollingShutter(zero, zero, shutter.readout_s),
        RollingShutter(shutter.velocity, shutter.turning, torch.zeros(2, dtype=torch.float64)),
    ):
        for found, expected in zip(rolling_ray_map(cameras, none), ray_map(cameras)):
            assert torch.allclose(found, expected)
        assert torch.allclose(rolling_project(cameras, none, points)[0], project(cameras, points)[0])


def test_a_vertical_pole_leans_as_a_car_passes() -> None:
    """At 10 m/s and 5 m the pole wanders 2 m/s of plane coordinate: 30 ms of readout over the image's height."""
    down = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)  # along +y
    camera = Cameras.from_fov(down, 90.0, (100, 100))
    velocity, zero = torch.tensor([10.0, 0, 0], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    shutter = RollingShutter(velocity, zero, torch.tensor(0.03, dtype=torch.float64))
    heights = torch.linspace(-4, 4, 9, dtype=torch.float64)
    pole = torch.stack([torch.zeros_like(heights), torch.full_like(heights, 5.0), heights], -1)
    uv, _ = rolling_project(camera, shutter, pole)
    rows = 50 - 50 * heights / 5
    assert torch.allclose(uv[:, 1], rows)
    assert torch.allclose(uv[:, 0], 50 - 50 * 10 / 5 * 0.03 * (rows / 100 - 0.5))


def test_gradients_reach_the_motion() -> None:
    cameras, shutter = recorded((), 3)
    points = cameras.centers + 5 * ray_map(cameras)[1][::5, ::5].flatten(0, 1)
    inputs = (shutter.velocity.requires_grad_(), shutter.turning.requires_grad_())

    def uv(velocity: torch.Tensor, turning: torch.Tensor) -> torch.Tensor:
        return rolling_project(cameras, RollingShutter(velocity, turning, shutter.readout_s), points)[0]

    assert torch.autograd.gradcheck(uv, inputs)


def test_invalid_shutters_are_refused(refused, unchecked) -> None:
    with refused("'up'", "top"):
        RollingShutter(torch.zeros(3), torch.zeros(3), torch.tensor(0.1), "up")  # type: ignore[arg-type]
    with refused("(2, 3)"):
        RollingShutter(torch.zeros(2, 3), torch.zeros(3), torch.tensor(0.1))


def test_the_side_that_is_read_first_is_seen_earliest() -> None:
    zero = torch.zeros(3)
    corners = torch.tensor([[0.0, 0.0], [20.0, 0.0], [0.0, 10.0], [20.0, 10.0]])  # (u, v) of an image of 10 x 20
    early, late = -0.5, 0.5
    expected: dict[Side, list[float]] = {
        "top": [early, early, late, late],
        "bottom": [late, late, early, early],
        "left": [early, late, early, late],
        "right": [late, early, late, early],
    }
    for first, times in expected.items():
        shutter = RollingShutter(zero, zero, torch.tensor(1.0), first)
        assert shutter.times(corners, (10, 20)).tolist() == times, first
