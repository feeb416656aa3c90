"""Images moved between cameras by their depth."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry.camera.cameras import Cameras
from geometry.camera.rays import ray_map
from geometry.errors import InputError
from geometry.image.warping import backward_visible, backward_warp, fill_nearest, forward_warp
from geometry.rotation.transforms import look_at, rigid, rotation_about
from tests.geometry.spheres import SphereScene, sphere_scene


def facing(x: float = 0.0, z: float = 0.0, hw: tuple[int, int] = (8, 10)) -> Cameras:
    """One camera at (x, 0, z) looking along world z, 4 pixels per unit slope."""
    pose = torch.eye(4)
    pose[0, 3], pose[2, 3] = x, z
    K = torch.tensor([[4.0, 0, hw[1] / 2], [0, 4, hw[0] / 2], [0, 0, 1]])
    return Cameras(pose[None], K[None], hw)


def test_warping_an_image_into_its_own_camera_changes_nothing() -> None:
    scene = sphere_scene(frames=1)
    for i in range(3):
        depth = scene.depth[i : i + 1].clone()
        depth[..., 10:20, 10:60] = 0
        camera = scene.cameras[i : i + 1]
        rgb, z, visible = forward_warp(scene.rgb[i : i + 1], depth, camera, camera)
        assert torch.equal(visible, depth[0] > 0)
        assert torch.equal(rgb, scene.rgb[i] * visible)
        assert torch.allclose(z, depth[0], rtol=1e-5) and torch.equal(z.isinf(), depth[0].isinf())


def test_a_sideways_step_moves_pixels_by_focal_length_times_step_over_depth() -> None:
    rgb, depth = torch.rand(1, 3, 8, 10), torch.full((1, 1, 8, 10), 2.0)
    moved, z, visible = forward_warp(rgb, depth, facing(), facing(x=1.0)[0])  # 4 * 1 / 2 = 2 pixels to the left
    assert torch.equal(moved[..., :8], rgb[0, ..., 2:])
    assert bool(visible[..., :8].all()) and not bool(visible[..., 8:].any())
    assert bool((z[..., :8] == 2).all()) and not bool(moved[..., 8:].any()) and not bool(z[..., 8:].any())


def test_backward_warping_by_the_new_depth_finds_the_same_pixels_and_their_positions() -> None:
    rgb, depth = torch.rand(1, 3, 8, 10), torch.full((1, 1, 8, 10), 2.0)
    found, visible, uv = backward_warp(rgb, depth[0], facing(x=1.0)[0], depth, facing())
    assert torch.allclose(found[0, ..., :8], rgb[0, ..., 2:], atol=1e-5)
    assert bool(visible[..., :8].all()) and not bool(visible[..., 8:].any())
    assert torch.allclose(uv[0, 3, :, 0], torch.arange(10) + 2.5) and torch.allclose(
        uv[0, ..., 1].mean(), torch.tensor(4.0)
    )
    hidden = backward_warp(rgb, depth[0], facing(x=1.0)[0], 0.5 * depth, facing())[1]
    assert not bool(hidden.any())


def test_backward_warping_needs_a_camera_for_each_image(unchecked: None) -> None:
    rgb, depth = torch.rand(2, 3, 8, 10), torch.full((1, 1, 8, 10), 2.0)
    with pytest.raises(InputError, match="expected one each"):
        backward_warp(rgb, depth[0], facing()[0], depth, facing())


def test_the_nearest_surface_wins_whatever_the_order_of_the_sources() -> None:
    rgb = torch.rand(2, 3, 8, 10)
    depth = torch.stack([torch.full((1, 8, 10), 3.0), torch.full((1, 8, 10), 2.0)])
    depth[1, :, :4] = math.inf
    cameras = Cameras.cat([facing(), facing()])
    for order in ([0, 1], [1, 0]):
        warped, z, _ = forward_warp(rgb[order], depth[order], cameras, facing())
        assert torch.equal(warped[:, 4:], rgb[1, :, 4:]) and torch.equal(warped[:, :4], rgb[0, :, :4])
        assert torch.allclose(z[0, :, 0], torch.tensor([3.0] * 4 + [2.0] * 4))


def test_among_equals_the_first_source_wins() -> None:
    rgb, depth = torch.rand(3, 3, 8, 10), torch.full((3, 1, 8, 10), 2.0)
    cameras = Cameras.cat([facing()] * 3)
    assert torch.equal(forward_warp(rgb, depth, cameras, facing())[0], rgb[0])


def test_what_is_behind_the_camera_stays_away() -> None:
    rgb, depth = torch.rand(1, 3, 8, 10), torch.full((1, 1, 8, 10), 2.0)
    assert not forward_warp(rgb, depth, facing(), facing(z=3.0))[2].any()
    turned = rigid(rotation_about(torch.tensor([0.0, 1.0, 0.0]), torch.tensor(math.pi)), torch.zeros(3))
    sky = torch.full((1, 1, 8, 10), math.inf)
    assert not forward_warp(rgb, sky, facing(), Cameras(turned, facing().K[0], (8, 10)))[2].any()


def test_sky_does_not_move_with_the_camera_but_turns_with_it() -> None:
    rgb, sky = torch.rand(1, 3, 8, 10), torch.full((1, 1, 8, 10), math.inf)
    moved, z, visible = forward_warp(rgb, sky, facing(), facing(x=1e6, z=-1e6))
    assert torch.equal(moved, rgb[0]) and bool(visible.all()) and bool(z.isinf().all())
    roll = rigid(rotation_about(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(math.pi)), torch.zeros(3))
    rolled, _, _ = forward_warp(rgb, sky, facing(), Cameras(roll, facing().K[0], (8, 10)))
    assert torch.equal(rolled, rgb[0].flip(-1, -2))


def neighbors(scene: SphereScene, target: int) -> torch.Tensor:
    """The other cameras that see the sphere from within 50 degrees of the target."""
    direction = torch.nn.functional.normalize(scene.cameras.centers - scene.center, dim=-1)
    near = direction @ direction[target] > math.cos(math.radians(50))
    near[target] = False
    return near.nonzero()[:, 0]


def test_views_of_a_sphere_predict_another_view() -> None:
    scene = sphere_scene()
    near = neighbors(scene, 12)
    rgb, z, visible = forward_warp(scene.rgb[near], scene.depth[near], scene.cameras[near], scene.cameras[12])
    hit = visible & scene.depth[12].isfinite() & z.isfinite()
    assert hit.sum() > 0.9 * scene.depth[12].isfinite().sum()
    assert (rgb - scene.rgb[12]).abs()[:, hit[0]].mean() < 0.01
    assert (z - scene.depth[12])[hit].abs().median() < 0.01
    filled = fill_nearest(rgb, visible)
    assert (filled - scene.rgb[12]).abs().mean() < 0.02


@settings(max_examples=40)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**31), st.floats(0, 1))
def test_filling_takes_the_nearest_visible_pixel_the_upper_then_left_among_equals(height, width, seed, share) -> None:
    torch.manual_seed(seed)
    rgb, visible = torch.rand(2, 3, height, width), torch.rand(2, 1, height, width) < share
    expected = rgb.clone()
    for image, mask, result in zip(rgb, visible[:, 0], expected):
        known = mask.nonzero().tolist()
        for row in range(height):
            for column in range(width):
                if known:
                    r, c = min(known, key=lambda at: ((at[0] - row) ** 2 + (at[1] - column) ** 2, at))
                    result[:, row, column] = image[:, r, c]
    assert torch.equal(fill_nearest(rgb, visible), expected)


def test_every_known_pixel_is_seen_by_its_own_camera() -> None:
    scene = sphere_scene(frames=1)
    for i in range(3):
        depth = scene.depth[i].clone()
        depth[:, 10:20, 10:60] = 0
        seen = backward_visible(depth, scene.cameras[i], depth[None], scene.cameras[i : i + 1])
        assert torch.equal(seen, depth > 0)


def test_a_plane_at_a_grazing_angle_is_seen_wherever_it_is_in_the_image() -> None:
    """The ground 1.5 m below two cameras 5 m apart: neighboring rows differ in depth by up to half."""
    eye = torch.tensor([[0.0, 0.0, 1.5], [0.0, 5.0, 1.5]])
    cameras = Cameras.from_fov(look_at(eye, eye + torch.tensor([0.0, 10.0, -0.5])), 60.0, (48, 64))
    down = ray_map(cameras)[1]
    along = -1.5 / down[..., 2]
    depth = torch.where(along > 0, along * (down * cameras.forward[:, None, None]).sum(-1), torch.inf)[:, None]
    seen = backward_visible(depth[1], cameras[1], depth[:1], cameras[:1], tolerance=0.01)
    ground = depth[1].isfinite()
    below_horizon = ground & ground.roll(1, -2)
    assert bool(seen[below_horizon].all()) and below_horizon.sum() > 1000
    assert bool(seen[~ground].all()) and (~ground).sum() > 1000  # the sky as well


def test_of_a_sphere_exactly_the_side_towards_the_other_camera_is_visible() -> None:
    scene = sphere_scene()
    target = 12
    direction = ray_map(scene.cameras[target])[1].double()
    surface = scene.depth[target].isfinite()[0]
    normal = (2 * scene.rgb[target] - 1).movedim(0, -1)
    point = scene.center + scene.radius * normal
    seen = backward_visible(scene.depth[target], scene.cameras[target], scene.depth, scene.cameras)
    checked = 0
    for i in range(len(scene.depth)):
        towards = ((scene.cameras.centers[i] - point) * normal).sum(-1) / (scene.cameras.centers[i] - point).norm(
            dim=-1
        )
        facing, away = surface & (towards > 0.3), surface & (towards < -0.3)
        assert bool(seen[i][facing].all()) and not bool(seen[i][away].any())
        checked += int(facing.sum()) * int(away.any())
        # Sky: its direction, from the other camera's center, misses the sphere by more than a pixel or hits it.
        offset = scene.center.double() - scene.cameras.centers[i].double()
        along = direction @ offset
        miss = (offset @ offset - along.clamp_min(0) ** 2).clamp_min(0).sqrt()
        hits = ~surface & (along > 0) & (miss < scene.radius - 0.05)
        assert not bool(seen[i][hits].any())
    assert checked > 1000


def test_sky_is_seen_where_its_direction_falls_on_sky_inside_the_image() -> None:
    sky = torch.full((1, 8, 10), math.inf)
    half = sky.clone()
    half[:, :4] = 2.0
    seen = backward_visible(sky, facing(x=100.0)[0], half[None], facing())
    assert torch.equal(seen[0, :4], torch.zeros(4, 10, dtype=torch.bool)) and bool(seen[0, 4:].all())
    wide = facing()
    narrow = Cameras(wide.world_from_camera, wide.K * torch.tensor([[2.5, 1, 1], [1, 2.5, 1], [1, 1, 1]]), (8, 10))
    expected = torch.zeros(8, 10, dtype=torch.bool)
    expected[2:6, 3:7] = True  # the pixels whose centers are less than 1.6 rows and 2 columns from the middle
    assert torch.equal(backward_visible(sky, wide[0], sky[None], narrow)[0], expected)


def test_something_in_front_or_unknown_hides_and_a_hole_in_front_of_nothing_is_not_seen() -> None:
    target = torch.full((1, 8, 10), 4.0)
    for there, expected in ((4.0, True), (4.05, True), (2.0, False), (0.0, False), (9.0, False), (math.inf, False)):
        seen = backward_visible(target, facing()[0], torch.full((1, 1, 8, 10), there), facing())
        assert bool(seen.all()) == expected and bool(seen.any()) == expected
    for unknown, known in ((torch.zeros(1, 8, 10), target), (torch.full((1, 8, 10), math.inf), torch.zeros(1, 8, 10))):
        assert not backward_visible(unknown, facing()[0], known[None], facing()).any()


def test_shapes_that_do_not_fit_are_refused(refused, unchecked) -> None:
    rgb, depth = torch.rand(2, 3, 8, 10), torch.ones(2, 1, 8, 10)
    two = Cameras.cat([facing(), facing()])
    with refused("warp: rgb"):
        forward_warp(rgb, depth[:1], two, facing())
    with refused("single camera"):
        forward_warp(rgb, depth, two, two)
    with refused("visibility"):
        backward_visible(depth[0, :, :4], facing()[0], depth, two)


def test_depths_that_differ_by_more_than_two_percent_are_not_the_same_surface() -> None:
    rgb, depth = torch.rand(1, 3, 8, 10), torch.full((1, 1, 8, 10), 2.0)
    for share, same in ((0.985, True), (1.015, True), (0.975, False), (1.025, False)):
        visible = backward_visible(share * depth[0], facing()[0], depth, facing())
        assert torch.equal(visible, torch.full((1, 8, 10), same)), share
        assert torch.equal(backward_warp(rgb, share * depth[0], facing()[0], depth, facing())[1], visible), share
