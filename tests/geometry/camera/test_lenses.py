"""Lenses: rays and pixels agree with each other, with OpenCV and with closed forms, and so do their gradients."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.lens_models import distort
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import pixels_of, project, unproject
from geometry.camera.rays import camera_directions, lens_mask, pixel_centers, plucker, ray_map
from geometry.image.warping import backward_visible, forward_warp
from geometry.points.pointclouds import points_from_depth
from geometry.rotation.transforms import invert_rigid, rigid, rotation_about

BATCHES = st.sampled_from([(), (1,), (3, 1, 2), (0,)])
SEEDS = st.integers(0, 2**31)
# By kind: coefficients that calibrated lenses have, up to these sizes.
LIMITS = {
    LensKind.PINHOLE: [],
    LensKind.OPENCV: [0.3, 0.1, 0.01, 0.01, 0.03, 0.2, 0.05, 0.01],
    LensKind.FISHEYE: [0.05, 0.02, 0.01, 0.003],
    LensKind.F_THETA: [0.05, 0.05, 0.02, 0.01],
    LensKind.EQUIRECTANGULAR: [],
}


def random_lens(kind: LensKind, batch: tuple[int, ...]) -> Lens:
    limits = torch.tensor(LIMITS[kind], dtype=torch.float64)
    return Lens.of(kind, limits * (2 * torch.rand(*batch, len(limits), dtype=torch.float64) - 1))


def lens_cameras(kind: LensKind, batch: tuple[int, ...], seed: int, hw: tuple[int, int] = (12, 16)) -> Cameras:
    """Cameras of any pose with one kind of lens, skew and principal points off the center."""
    torch.manual_seed(seed)
    pose = rigid(
        rotation_about(torch.randn(*batch, 3, dtype=torch.float64), torch.randn(batch, dtype=torch.float64)),
        torch.randn(*batch, 3, dtype=torch.float64),
    )
    K = Cameras.from_fov(pose, 70.0 if kind <= LensKind.OPENCV else 170.0, hw, None).K if kind <= 1 else None
    if K is None:
        K = torch.eye(3, dtype=torch.float64).repeat(*batch, 1, 1)
        K[..., 0, 0] = K[..., 1, 1] = hw[0] / math.radians(170)
        K[..., 0, 2], K[..., 1, 2] = hw[1] / 2, hw[0] / 2
    K[..., 0, 1] += 0.1
    K[..., :2, 2] += torch.randn(*batch, 2, dtype=torch.float64)
    return Cameras(pose, K, hw, lens=random_lens(kind, batch))


@pytest.mark.parametrize("kind", LensKind)
@settings(max_examples=8)
@given(BATCHES, SEEDS)
def test_projecting_an_unprojected_pixel_gives_its_center_and_depth(kind, batch, seed) -> None:
    cameras = lens_cameras(kind, batch, seed)
    depth = 0.1 + 10 * torch.rand(*batch, 1, *cameras.hw, dtype=torch.float64)
    shown = lens_mask(cameras).flatten(-3)
    uv, found = project(cameras, unproject(cameras, depth).flatten(-3, -2))
    center = pixel_centers(cameras.hw, dtype=torch.float64).flatten(0, 1).expand_as(uv)
    assert torch.allclose(uv[shown], center[shown], atol=1e-7)
    assert torch.allclose(found[shown], depth.flatten(-3)[shown], atol=1e-8)
    assert bool(uv.isfinite().all() and found.isfinite().all())
    assert not shown.numel() or float(shown.double().mean()) > 0.2


@pytest.mark.parametrize("kind", [LensKind.OPENCV, LensKind.FISHEYE, LensKind.F_THETA])
@settings(max_examples=8)
@given(SEEDS)
def test_the_inverse_finds_every_direction_within_the_reach(kind, seed) -> None:
    torch.manual_seed(seed)
    lens = random_lens(kind, (20,))
    share = torch.rand(20, 50, dtype=torch.float64) * 0.999
    around = 2 * math.pi * torch.rand_like(share)
    if kind == LensKind.OPENCV:
        r = lens.reach.clamp_max(2.0)[:, None] * share
        points = torch.stack([r * around.cos(), r * around.sin(), torch.ones_like(r)], -1)
    else:
        angle = lens.reach[:, None] * share
        points = torch.stack([angle.sin() * around.cos(), angle.sin() * around.sin(), angle.cos()], -1)
    plane, depth = lens.project(points)
    seen = depth > 0
    directions, found = lens.directions(plane)
    # Decentring folds an OpenCV lens a little before its radial part does.
    assert float(seen.double().mean()) > (0.9 if kind == LensKind.OPENCV else 0.9999)
    assert float((found & seen).sum() / seen.sum()) > (0.99 if kind == LensKind.OPENCV else 0.9999)
    back, _ = lens.project(directions)
    assert float((back - plane)[found].norm(dim=-1).max()) < 1e-9
    well = seen & found & (share < 0.9)
    error = (directions - points).norm(dim=-1)[well]
    assert float(error.median()) < 1e-12 and float(error.quantile(0.999)) < 1e-6


def test_a_batch_may_mix_kinds_and_each_is_as_if_alone() -> None:
    parts = [lens_cameras(kind, (2,), 3) for kind in LensKind]
    mixed = Cameras.cat([*parts, replace(parts[0], lens=None)])
    assert mixed.lens is not None and mixed.lens.kind.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 0]
    points = torch.randn(12, 7, 3, dtype=torch.float64)
    for n, part in enumerate(parts):
        alone, depth = project(part, points[2 * n : 2 * n + 2])
        together = project(mixed, points)
        assert torch.allclose(together[0][2 * n : 2 * n + 2], alone, equal_nan=True)
        assert torch.allclose(together[1][2 * n : 2 * n + 2], depth)
        assert torch.allclose(plucker(mixed)[2 * n : 2 * n + 2], plucker(part))
    assert torch.allclose(plucker(mixed)[10:], plucker(replace(parts[0], lens=None)))


def test_a_pinhole_lens_changes_nothing() -> None:
    cameras = lens_cameras(LensKind.PINHOLE, (3,), 0)
    points = torch.randn(3, 50, 3, dtype=torch.float64)
    (uv, z), (plain_uv, plain_z) = project(cameras, points), project(cameras.pinholes(), points)
    assert torch.equal(z, plain_z) and torch.allclose(uv[z > 0], plain_uv[z > 0])
    assert torch.equal(ray_map(cameras)[1], ray_map(cameras.pinholes())[1])


def test_every_operation_on_cameras_keeps_the_lens() -> None:
    cameras = lens_cameras(LensKind.FISHEYE, (2, 3), 1)
    assert cameras.lens is not None
    for index in ((1, [0, 2]), (slice(None), slice(0, 0)), 0):
        some = cameras[index].lens
        assert some is not None and torch.equal(some.coefficients, cameras.lens.coefficients[index])
    flat = cameras.reshape(6)
    assert (
        flat.lens is not None and flat.lens.shape == (6,) and flat.lens.to(torch.float32).reach.dtype == torch.float32
    )
    points = torch.randn(2, 3, 9, 3, dtype=torch.float64)
    uv, _ = project(cameras, points)
    assert torch.allclose(project(cameras.resized((36, 32)), points)[0], uv * torch.tensor([2, 3]))
    assert torch.allclose(project(cameras.cropped(2, -3, (4, 5)), points)[0], uv - torch.tensor([-3, 2]))
    assert torch.allclose(project(cameras.scaled(2.5), 2.5 * points)[0], uv)


def test_pixels_agree_with_opencvs_fisheye_and_distortion(shared) -> None:
    golden = load_file(shared / "golden/cameras.safetensors")
    for kind, coefficients, pixels in (
        (LensKind.FISHEYE, "fisheye_k1k2k3k4", "opencv_pixels_fisheye"),
        (LensKind.OPENCV, "radtan_k1k2p1p2k3", "opencv_pixels_radtan"),
    ):
        lens = Lens.of(kind, golden[coefficients])
        cameras = Cameras(invert_rigid(golden["w2c"]), golden["K"], (1, 1), lens=lens)
        uv, depth = project(cameras, golden["points_world"])
        seen = depth > 0
        assert float(seen.double().mean()) > 0.9
        assert (uv - golden[pixels])[seen].abs().max() < 1e-8
        if kind == LensKind.FISHEYE:
            assert torch.allclose(depth.abs(), golden["points_cam"].norm(dim=-1))
            # and the way back, which OpenCV's pixels begin
            homogeneous = torch.cat([golden[pixels], torch.ones_like(golden[pixels][..., :1])], -1)
            plane = (homogeneous @ torch.linalg.inv(golden["K"]).mT)[..., :2]
            directions, found = lens.directions(plane)
            expected = torch.nn.functional.normalize(golden["points_cam"], dim=-1)
            assert bool(found[seen].all()) and (directions - expected)[seen].abs().max() < 1e-9
        else:
            assert torch.allclose(depth.abs(), golden["points_cam"][..., 2].abs())


def test_distorted_pixels_agree_with_opencv(shared) -> None:
    golden = load_file(shared / "golden/cameras.safetensors")
    points = golden["points_cam"]
    moved = distort(points[..., :2] / points[..., 2:], golden["radtan_k1k2p1p2k3"])
    uv = torch.cat([moved, torch.ones_like(moved[..., :1])], -1) @ golden["K"].mT
    assert (uv[..., :2] - golden["opencv_pixels_radtan"]).abs().max() < 1e-9


def test_pixels_and_rays_agree_with_opencv_itself() -> None:
    cv2 = pytest.importorskip("cv2")
    torch.manual_seed(0)
    points = torch.rand(40, 3, dtype=torch.float64) - torch.tensor([0.5, 0.5, -1.0])
    K = torch.tensor([[300.0, 0, 320], [0, 310, 240], [0, 0, 1]], dtype=torch.float64)
    for kind in (LensKind.OPENCV, LensKind.FISHEYE):
        lens = random_lens(kind, ())
        count = {LensKind.OPENCV: 8, LensKind.FISHEYE: 4}[kind]
        values, zero = lens.coefficients[:count].numpy(), torch.zeros(3).double().numpy()
        how = cv2.projectPoints if kind == LensKind.OPENCV else cv2.fisheye.projectPoints
        theirs = torch.from_numpy(how(points[:, None].numpy(), zero, zero, K.numpy(), values)[0].reshape(-1, 2))
        uv, depth = pixels_of(Cameras(torch.eye(4, dtype=torch.float64), K, (480, 640), lens=lens), points)
        assert (uv - theirs)[depth > 0].abs().max() < 1e-8


# theta to radius of classical projections, whose series are Kannala-Brandt fisheyes.
@pytest.mark.parametrize(
    ("radius", "coefficients"),
    [
        (lambda theta: theta, [0.0]),
        (lambda theta: 2 * (theta / 2).sin(), [-1 / 24, 1 / 1920, -1 / 322560, 1 / 92897280]),
        (lambda theta: theta.sin(), [-1 / 6, 1 / 120, -1 / 5040, 1 / 362880]),
    ],
)
def test_a_fisheye_projects_by_its_series(radius, coefficients) -> None:
    lens = Lens.of(LensKind.FISHEYE, torch.tensor(coefficients, dtype=torch.float64))
    theta = torch.linspace(0, 1.2, 30, dtype=torch.float64)
    plane, depth = lens.project(3 * torch.stack([theta.sin(), torch.zeros_like(theta), theta.cos()], -1))
    assert torch.allclose(plane[:, 0], radius(theta), atol=2e-7) and torch.allclose(depth, torch.full_like(theta, 3.0))
    # An f-theta lens with the same polynomial is the same lens.
    powers = torch.zeros(8, dtype=torch.float64)
    powers[1::2][: len(coefficients)] = torch.tensor(coefficients, dtype=torch.float64)
    same, _ = Lens.of(LensKind.F_THETA, powers).project(torch.stack([theta.sin(), 0 * theta, theta.cos()], -1))
    assert torch.allclose(same, plane)


def test_a_panorama_shows_longitude_and_latitude_once_round() -> None:
    lens = Lens.of(LensKind.EQUIRECTANGULAR, torch.zeros(0, dtype=torch.float64))
    cameras = Cameras.from_fov(torch.eye(4, dtype=torch.float64), 180.0, (50, 100), lens)
    towards = {(0, 0, 1): (50, 25), (1, 0, 0): (75, 25), (-1, 0, 0): (25, 25), (0, 1, 0): (None, 50)}
    towards |= {(0, -1, 0): (None, 0), (1, 0, -1): (87.5, 25), (0, 1, 1): (50, 37.5)}
    for point, (u, v) in towards.items():
        uv, depth = pixels_of(cameras, torch.tensor([point], dtype=torch.float64))
        assert float(uv[0, 1]) == pytest.approx(v) and (u is None or float(uv[0, 0]) == pytest.approx(u))
        assert float(depth) == pytest.approx(math.hypot(*point))
    assert bool(lens_mask(cameras).all())
    # The pixels' solid angles cover the sphere.
    latitude = (torch.arange(50, dtype=torch.float64) + 0.5) / 50 * math.pi - math.pi / 2
    assert float((latitude.cos() * (math.pi / 50) ** 2).sum() * 100) == pytest.approx(4 * math.pi, rel=1e-3)
    wider = cameras.cropped(-5, -5, (60, 110))
    assert int(lens_mask(wider).sum()) == 50 * 100


@pytest.mark.parametrize(
    ("kind", "coefficients", "reach"),
    [
        (LensKind.OPENCV, [0.0], math.inf),
        (LensKind.OPENCV, [0.3, 0.2, 0, 0, 0.1], math.inf),
        (LensKind.OPENCV, [-1 / 3], 1),
        (LensKind.OPENCV, [-4 / 3], 0.5),
        (LensKind.OPENCV, [0, 0, 0, 0, 0, 1.0], 1),  # r / (1 + r^2) rises up to 1
        (LensKind.OPENCV, [0, 0, 0, 0, 0, -0.25], 2),  # a pole
        (LensKind.FISHEYE, [0.1], math.pi),
        (LensKind.FISHEYE, [-1 / 3], 1),
        (LensKind.F_THETA, [-0.25], 2),
        (LensKind.PINHOLE, [], math.inf),
    ],
)
def test_a_lens_reaches_to_where_its_radius_stops_growing(kind, coefficients, reach) -> None:
    lens = Lens.of(kind, torch.tensor(coefficients, dtype=torch.float64))
    assert float(lens.reach) == pytest.approx(reach)
    r = torch.linspace(0, min(reach, 3) * 0.999, 1000, dtype=torch.float64)
    x = r if kind <= LensKind.OPENCV else r.sin()
    plane, depth = lens.project(torch.stack([x, 0 * r, torch.ones_like(r) if kind <= LensKind.OPENCV else r.cos()], -1))
    assert bool((depth > 0).all() and (plane[1:, 0] > plane[:-1, 0]).all())


@pytest.mark.parametrize("kind", [LensKind.OPENCV, LensKind.FISHEYE])
def test_beyond_its_reach_a_lens_shows_nothing_and_pixels_get_the_direction_at_its_edge(kind) -> None:
    lens = Lens.of(kind, torch.tensor([-1 / 3], dtype=torch.float64))  # reach 1, where the radius is 2/3
    points = torch.tensor([[0.9, 0, 1], [1.1, 0, 1], [1.4, 0, 1], [0.5, 0, -1]], dtype=torch.float64)
    assert (lens.project(points)[1] > 0).tolist() == [True, kind == LensKind.FISHEYE, kind == LensKind.FISHEYE, False]
    directions, seen = lens.directions(torch.tensor([[0.6, 0.0], [0.7, 0.0], [0.0, 9.0]], dtype=torch.float64))
    assert seen.tolist() == [True, False, False]
    edge = [1, 0, 1] if kind == LensKind.OPENCV else [math.sin(1), 0, math.cos(1)]
    assert torch.allclose(directions[1], torch.tensor(edge, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(directions[2], torch.tensor(edge, dtype=torch.float64)[[1, 0, 2]], atol=1e-6)


@pytest.mark.parametrize("kind", LensKind)
def test_gradients_are_those_of_finite_differences(kind) -> None:
    cameras = lens_cameras(kind, (2,), 5, (3, 4))
    cameras.K[:, [0, 1], [0, 1]] *= 2.5
    lens, uv = cameras.lens, pixel_centers((3, 4), dtype=torch.float64)
    assert lens is not None and bool(lens_mask(cameras).all())

    def of(K: Tensor, coefficients: Tensor, values: Tensor, what: str) -> Tensor:
        camera = replace(cameras, K=K, lens=replace(lens, coefficients=coefficients))
        return (
            camera_directions(camera, values)
            if what == "directions"
            else torch.cat([pixels_of(camera, values)[0], pixels_of(camera, values)[1][..., None]], -1)
        )

    points = camera_directions(cameras, uv).flatten(-3, -2) * 2
    coefficients = lens.coefficients.clone().requires_grad_()
    for what, values in (("directions", uv), ("pixels", points)):
        inputs = (cameras.K.clone().requires_grad_(), coefficients, values.clone().requires_grad_())
        assert torch.autograd.gradcheck(lambda K, c, v, what=what: of(K, c, v, what), inputs, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", LensKind)
def test_gradients_are_finite_on_the_axis_behind_and_beyond(kind, dtype) -> None:
    cameras = lens_cameras(kind, (), 2).to(dtype)
    assert cameras.lens is not None
    rows = [[0, 0, 1], [0, 0, 0], [0, 0, -1], [0, 1, 0], [1, 0, 0], [1e-30, 0, -1], [9, 9, 1e-9], [1e6, 0, -1e6]]
    points = torch.tensor(rows, dtype=dtype, requires_grad=True)
    plane, depth = cameras.lens.project(points)
    torch.where((depth > 0)[:, None], plane, 0.0).sum().backward()
    assert points.grad is not None and bool(points.grad[(depth > 0)].isfinite().all())
    plane = torch.tensor([[0, 0], [1e-20, 0], [4, 4], [1e3, 0], [0, 1.5]], dtype=dtype, requires_grad=True)
    directions, _ = cameras.lens.directions(plane)
    directions.sum().backward()
    assert bool(directions.isfinite().all()) and plane.grad is not None and bool(plane.grad.isfinite().all())


@pytest.mark.parametrize("kind", LensKind)
def test_plucker_rays_stay_the_same_for_points_anywhere_along_them(kind) -> None:
    cameras = lens_cameras(kind, (2,), 7)
    direction, moment = plucker(cameras).movedim(-3, -1).split(3, -1)
    assert (direction.norm(dim=-1) - 1).abs().max() < 1e-12
    for depth in (0.5, 7.0):
        points = unproject(cameras, torch.full((2, 1, *cameras.hw), depth, dtype=torch.float64))
        assert torch.allclose(torch.linalg.cross(points, direction), moment, atol=1e-10)


def test_a_straight_line_is_straight_in_a_pinhole_and_bent_by_a_barrel() -> None:
    share = torch.linspace(-1, 1, 21, dtype=torch.float64)
    line = torch.stack([share, torch.full_like(share, 0.8), torch.full_like(share, 1.5)], -1)
    camera = Cameras.from_fov(torch.eye(4, dtype=torch.float64), 90.0, (100, 100))
    straight, _ = project(camera, line)
    barrel = replace(camera, lens=Lens.of(LensKind.OPENCV, torch.tensor([-0.2], dtype=torch.float64)))
    bent, _ = project(barrel, line)
    assert float(straight[:, 1].std()) < 1e-12
    x, y = share / 1.5, 0.8 / 1.5
    assert torch.allclose(bent[:, 1], 50 + 50 * y * (1 - 0.2 * (x * x + y * y)))  # nearer to the middle at its ends


def test_warps_and_point_clouds_take_depth_along_rays() -> None:
    """A wall seen by a fisheye with a depth by closed form lands where a pinhole sees it, and the other way round."""
    flat = Cameras.from_fov(torch.eye(4)[None], 80.0, (40, 40))
    bent = Cameras.from_fov(torch.eye(4)[None], 120.0, (64, 64), Lens.of(LensKind.FISHEYE, torch.zeros(1, 1)))
    uv = pixel_centers((64, 64))
    distance = 2 / camera_directions(bent, uv)[..., 2].clamp_min(0.05)[:, None]  # to the wall z = 2
    color = torch.cat([uv / 64, torch.zeros(64, 64, 1)], -1).movedim(-1, 0)[None]
    cloud = points_from_depth(color, distance, bent, edge_ratio=None)
    central = cloud.points[(cloud.points[:, :2].norm(dim=-1) < 4)]
    assert len(central) > 1500 and (central[:, 2] - 2).abs().max() < 1e-5
    _, z, visible = forward_warp(color, distance, bent, flat)
    assert float(visible.double().mean()) > 0.4 and (z[visible] - 2).abs().max() < 1e-5
    seen = backward_visible(torch.full((1, 40, 40), 2.0), flat, distance, bent)
    assert bool(seen.all()), "the fisheye sees all that the pinhole does"


def test_invalid_lenses_are_refused(refused, unchecked) -> None:
    with refused("lens coefficients"):
        Lens.of(LensKind.OPENCV, torch.tensor([math.nan]))
    with refused("FISHEYE", "up to 4"):
        Lens.of(LensKind.FISHEYE, torch.zeros(5))
    with refused("(2,)"):
        Lens(torch.zeros(2).long(), torch.zeros(3, 8))
    with refused("lenses of shape (2,)"):
        Cameras(torch.eye(4)[None], torch.eye(3)[None], (4, 4), lens=Lens.of(LensKind.FISHEYE, torch.zeros(2, 1)))
    narrow = Lens.of(LensKind.FISHEYE, torch.tensor([[-1 / 3]]))
    with refused("field of view 120", "less than the lens shows"):
        Cameras.from_fov(torch.eye(4)[None], 120.0, (4, 4), narrow)
