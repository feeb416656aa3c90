"""The same point through every convention lands on the same pixel."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from geometry.camera import tool_parameters
from geometry.camera.cameras import Cameras
from geometry.camera.conversion import CONVENTIONS, cameras_from, cameras_to
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.transforms import invert_rigid, look_at, rigid
from tests.geometry.camera.test_cameras import cameras_from_golden, some_cameras

BATCHES = st.sampled_from([(), (1,), (3, 1, 2)])
SIZES = st.tuples(st.integers(2, 2000), st.integers(2, 2000))
SEEDS = st.integers(0, 2**31)


def by_their_rules(name: str, cameras: Cameras, points: torch.Tensor) -> torch.Tensor:
    """Pixel indices of world points, worked out in the convention's own axes and units."""
    theirs, (pose, K) = CONVENTIONS[name], cameras_to(name, cameras)
    mirror = torch.tensor([1.0, -1.0 if name == "unreal" else 1.0, 1.0], dtype=points.dtype)
    world = points * mirror * (100 if name == "unreal" else 1)
    into = pose if theirs.pose == "camera_from_world" else torch.linalg.inv(pose)
    p = (into[..., None, :3, :3] @ world[..., None]).squeeze(-1) + into[..., None, :3, 3]
    axis = {"x": 0, "y": 1, "z": 2}

    def along(direction: str) -> torch.Tensor:
        return p[..., axis[direction[1]]] * float(direction[0] + "1")

    x, y = along(theirs.right) / along(theirs.forward), -along(theirs.up) / along(theirs.forward)
    u = K[..., 0, 0, None] * x + K[..., 0, 1, None] * y + K[..., 0, 2, None]
    return torch.stack([u, K[..., 1, 1, None] * y + K[..., 1, 2, None]], -1) - theirs.pixel_center


def in_front(cameras: Cameras, seed: int) -> torch.Tensor:
    """Five world points each camera sees near its middle."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(*cameras.shape, 5, 3, generator=generator, dtype=torch.float64) - 0.5
    p[..., 2] += 2
    rotation, center = cameras.world_from_camera[..., None, :3, :3], cameras.centers[..., None, :]
    return (rotation @ p[..., None]).squeeze(-1) + center


@pytest.mark.parametrize("name", CONVENTIONS)
@settings(max_examples=20)
@given(BATCHES, SIZES, SEEDS)
def test_a_point_has_the_same_pixel_in_every_convention(name: str, batch, hw, seed) -> None:
    cameras = some_cameras(batch, hw, seed)
    points = in_front(cameras, seed)
    uv, _ = project(cameras, points)
    assert torch.allclose(by_their_rules(name, cameras, points), uv - 0.5, atol=1e-8, rtol=1e-10)


@pytest.mark.parametrize("name", CONVENTIONS)
@settings(max_examples=20)
@given(BATCHES, SIZES, SEEDS)
def test_there_and_back_gives_the_same_cameras(name: str, batch, hw, seed) -> None:
    cameras = some_cameras(batch, hw, seed)
    back = cameras_from(name, *cameras_to(name, cameras), hw)
    assert torch.allclose(back.world_from_camera, cameras.world_from_camera, atol=1e-12)
    assert torch.allclose(back.K, cameras.K, atol=1e-10) and back.hw == hw


def test_a_camera_that_looks_along_x_does_so_in_each_convention() -> None:
    forward, left, up = torch.eye(3, dtype=torch.float64)
    pose = rigid(torch.stack([-left, -up, forward], -1), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    cameras = Cameras.from_fov(pose, 90.0, (20, 40))
    assert torch.equal(cameras_to("opengl", cameras)[0][:3, :3], torch.stack([-left, up, -forward], -1))
    assert torch.equal(cameras_to("waymo", cameras)[0], rigid(torch.eye(3).double(), pose[:3, 3]))
    assert torch.equal(cameras_to("opencv", cameras)[0], invert_rigid(pose))
    assert cameras_to("opencv", cameras)[1][:2, 2].tolist() == [19.5, 9.5]
    assert cameras_to("colmap", cameras)[1][:2, 2].tolist() == [20.0, 10.0]
    location, rotator, fov = tool_parameters.cameras_to_unreal(cameras)
    assert location.tolist() == [100.0, -200.0, 300.0] and torch.allclose(rotator, torch.zeros(3).double(), atol=1e-9)
    assert float(fov) == pytest.approx(126.87, abs=0.01)


@pytest.mark.parametrize(
    ("rotator", "forward", "up"),
    [
        ((0.0, 90.0, 0.0), (0, -1, 0), (0, 0, 1)),  # yaw turns right: our -y
        ((30.0, 0.0, 0.0), (0.866025, 0, 0.5), (-0.5, 0, 0.866025)),  # pitch lifts
        ((0.0, 0.0, 90.0), (1, 0, 0), (0, -1, 0)),  # roll tilts clockwise: what was up is on the right
    ],
)
def test_unreals_rotator_turns_right_up_and_clockwise(rotator, forward, up) -> None:
    cameras = tool_parameters.cameras_from_unreal(
        torch.zeros(3).double(), torch.tensor(rotator).double(), torch.tensor(90.0).double(), (10, 10)
    )
    assert torch.allclose(cameras.forward, torch.tensor(forward).double(), atol=1e-5)
    assert torch.allclose(-cameras.world_from_camera[:3, 1], torch.tensor(up).double(), atol=1e-5)


@settings(max_examples=20)
@given(BATCHES, SEEDS)
def test_unreals_angles_come_back(batch, seed) -> None:
    torch.manual_seed(seed)
    place, fov = 100 * torch.randn(*batch, 3).double(), 20 + 100 * torch.rand(batch).double()
    rotator = (torch.rand(*batch, 3).double() * 2 - 1) * torch.tensor([89.0, 179.0, 179.0])
    cameras = tool_parameters.cameras_from_unreal(place, rotator, fov, (30, 50))
    again = tool_parameters.cameras_to_unreal(cameras)
    for got, wanted in zip(again, (place, rotator, fov)):
        assert torch.allclose(got, wanted, atol=1e-6)


def test_pytorch3ds_numbers_are_those_of_pytorch3d(shared: Path) -> None:
    golden = load_file(shared / "golden" / "cameras.safetensors")
    theirs = load_file(shared / "golden" / "cameras_pytorch3d.safetensors")
    for n in range(len(golden["w2c"])):
        cameras = cameras_from_golden(golden, n)
        ours = tool_parameters.cameras_to_pytorch3d(cameras)
        for key, name in (("R", "R"), ("T", "T"), ("focal_length", "focal_ndc"), ("principal_point", "principal_ndc")):
            assert torch.allclose(ours[key], theirs[name][n], atol=1e-9), name
        back = tool_parameters.cameras_from_pytorch3d(
            ours["R"], ours["T"], ours["focal_length"], ours["principal_point"], cameras.hw
        )
        assert torch.allclose(back.K, cameras.K, atol=1e-9)
        pixels = tool_parameters.cameras_to_pytorch3d(cameras, in_ndc=False)
        back = tool_parameters.cameras_from_pytorch3d(
            pixels["R"], pixels["T"], pixels["focal_length"], pixels["principal_point"], cameras.hw, in_ndc=False
        )
        assert torch.allclose(back.K, cameras.K, atol=1e-9)
        points = golden["points_world"][n]
        view = points @ ours["R"] + ours["T"]
        assert torch.allclose(view.float(), theirs["points_view"][n], atol=1e-4, rtol=1e-5)
        ndc = ours["focal_length"] * view[:, :2] / view[:, 2:] + ours["principal_point"]
        assert torch.allclose(ndc.float(), theirs["points_ndc"][n][:, :2], atol=1e-4, rtol=1e-4)  # theirs is float32


def test_pixels_are_those_of_opencv_and_kornia(shared: Path) -> None:
    golden = load_file(shared / "golden" / "cameras.safetensors")
    for n in range(len(golden["w2c"])):
        # OpenCV and kornia count from the center of the first pixel.
        cameras = cameras_from("opencv", golden["w2c"][n], golden["K"][n], tuple(golden["image_hw"][n].tolist()))
        for name in ("opencv_pixels", "kornia_pixels"):
            uv, _ = project(cameras, golden["points_world"][n])
            assert torch.allclose(uv - 0.5, golden[name][n], atol=1e-8)


@settings(max_examples=20)
@given(BATCHES, SEEDS)
def test_colmaps_and_realestate10ks_numbers_come_back(batch, seed) -> None:
    cameras = some_cameras(batch, (30, 50), seed)
    K = cameras.K.clone()
    K[..., 0, 1] = 0
    cameras = Cameras(cameras.world_from_camera, K, cameras.hw)
    for back in (
        tool_parameters.cameras_from_colmap(*tool_parameters.cameras_to_colmap(cameras), cameras.hw),
        tool_parameters.cameras_from_realestate10k(tool_parameters.cameras_to_realestate10k(cameras), cameras.hw),
    ):
        assert torch.allclose(back.world_from_camera, cameras.world_from_camera, atol=1e-9)
        assert torch.allclose(back.K, cameras.K, atol=1e-9)


def test_gradients_pass_both_ways() -> None:
    quaternion = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    place, K = torch.randn(2, 3, dtype=torch.float64, requires_grad=True), some_cameras((2,), (3, 5), 0).K

    def there_and_back(quaternion: torch.Tensor, place: torch.Tensor) -> tuple[torch.Tensor, ...]:
        cameras = cameras_from("unreal", rigid(matrix_from_quaternion_wxyz(quaternion), place), K, (3, 5))
        found = tool_parameters.cameras_to_pytorch3d(cameras)
        return found["R"], found["T"], quaternion_wxyz_from_matrix(cameras.world_from_camera[..., :3, :3])

    K[:, 0, 1] = 0
    assert torch.autograd.gradcheck(there_and_back, (quaternion, place))


def test_invalid_poses_and_lenses_are_refused(refused, unchecked) -> None:
    pose, K = look_at(torch.tensor([[2.0, 0, 1]]), torch.zeros(3))[0], some_cameras((), (3, 5), 0).K.float()
    with refused("'opengl2'", "worldgen, opencv"):
        cameras_from("opengl2", pose, K, (3, 5))
    with pytest.raises(ValueError, match="determinant -1"):
        cameras_from("opencv", pose * torch.tensor([-1.0, 1, 1, 1])[:, None], K, (3, 5))
    with pytest.raises(ValueError, match="transposed"):
        cameras_from("opencv", pose.T.contiguous(), K, (3, 5))
    with pytest.raises(ValueError, match="a scale"):
        cameras_from("opencv", torch.diag(torch.tensor([2.0, 2, 2, 1])) @ pose, K, (3, 5))
    with pytest.raises(ValueError, match="NaN or Inf"):
        cameras_from("opencv", pose * torch.nan, K, (3, 5))
    cameras = Cameras(pose, K, (3, 5))
    for way in (tool_parameters.cameras_to_pytorch3d, tool_parameters.cameras_to_unreal):
        with refused("skewed"):
            way(cameras)
    K[0, 1] = 0
    with refused("principal point", "width / 2"):
        tool_parameters.cameras_to_unreal(cameras)
    K[:2, 2] = torch.tensor([2.5, 1.5])
    with refused("not square"):
        tool_parameters.cameras_to_unreal(cameras)
    fisheye = Cameras(pose, K, (3, 5), lens=Lens.of(LensKind.FISHEYE, torch.zeros(0)))
    for way in (
        tool_parameters.cameras_to_unreal,
        tool_parameters.cameras_to_pytorch3d,
        tool_parameters.cameras_to_realestate10k,
    ):
        with refused("FISHEYE", "pinhole"):
            way(fisheye)
