"""Layout maps: boxes where `project` puts them, nearer ones in front, nothing from behind the camera."""

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project
from geometry.errors import InputError
from geometry.rotation.transforms import look_at, rotation_about
from tests.scenes.rendering.test_truths import flying, moving
from worldgen.scenes.classes import SemanticClass, class_colors
from worldgen.scenes.layout import Boxes, boxes_of, draw_layout, scene_layout

UP = torch.tensor([0.0, 0.0, 1.0])


def boxes(*centers: tuple[float, float, float], size: tuple[float, float, float] = (2.0, 1.0, 0.8), turn: float = 0.0,
          kinds: tuple[SemanticClass, ...] = (SemanticClass.CAR, SemanticClass.TRUCK)) -> Boxes:  # fmt: skip
    """One clip of one frame with boxes of one size."""
    count = len(centers)
    rotation = rotation_about(UP, torch.tensor(turn)).expand(1, 1, count, 3, 3)
    semantic = torch.tensor([[int(kind) for kind in kinds[:count]]])
    return Boxes(torch.tensor(centers)[None, None], rotation, torch.tensor(size).expand(1, 1, count, 3), semantic)


def ahead(hw: tuple[int, int] = (96, 128)) -> Cameras:
    """A camera 1.5 m high that looks along x."""
    return Cameras.from_fov(look_at(torch.tensor([[[0.0, 0.0, 1.5]]]), torch.tensor([9.0, 0.0, 1.3])), 60.0, hw)


def color(kind: SemanticClass) -> Tensor:
    """A class's color [3, 1, 1]."""
    return class_colors(torch.full((1, 1, 1), int(kind)))


def changed(image: Tensor) -> Tensor:
    """The pixels [h, w] that are not those of an empty world."""
    none = boxes((0.0, 0.0, -50.0))
    return ((image - draw_layout(ahead(), none))[0, 0].abs() > 1e-6).any(0)


@pytest.mark.parametrize("turn", [0.0, 0.7, 2.5])
def test_a_box_fills_the_hull_of_its_projected_corners_and_its_corners_are_on_dark_edges(turn: float) -> None:
    one, cameras = boxes((12.0, 1.0, 0.8), turn=turn), ahead()
    image = draw_layout(cameras, one)
    sign = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    corners = one.center[0, 0, 0] + (sign * one.size[0, 0, 0]) @ one.rotation[0, 0, 0].T
    uv, z = project(cameras[0], corners[None])
    assert bool((z > 1).all())
    rows, columns = changed(image).nonzero().unbind(-1)
    low, high = uv[0].amin(0), uv[0].amax(0)
    found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
    assert (found - torch.cat([low, high])).abs().max() <= 1.0
    dark = image[0, 0].sum(0) < 0.6
    for corner in (corners[int(uv[0, :, 1].argmax())], corners[int(uv[0, :, 1].argmin())]):
        u, v = project(cameras[0], corner[None, None])[0][0, 0].tolist()
        assert bool(dark[int(v) - 1 : int(v) + 2, int(u) - 1 : int(u) + 2].any())


def test_the_nearer_box_hides_the_farther_whatever_their_order() -> None:
    near, far = (8.0, 0.0, 0.8), (20.0, 0.0, 0.8)
    one = draw_layout(ahead(), boxes(near, far))
    two = draw_layout(ahead(), boxes(far, near, kinds=(SemanticClass.TRUCK, SemanticClass.CAR)))
    assert torch.equal(one, two)
    assert torch.equal(one, draw_layout(ahead(), boxes(near)))  # the far one is wholly behind


def test_a_box_behind_the_camera_draws_nothing_and_one_beside_it_only_what_is_ahead() -> None:
    assert not bool(changed(draw_layout(ahead(), boxes((-8.0, 0.0, 0.8)))).any())
    beside = changed(draw_layout(ahead(), boxes((0.0, 3.0, 0.8), size=(30.0, 1.0, 0.8))))
    assert bool(beside[:, :20].any()) and not bool(beside[:, 64:].any())


def test_the_front_is_lighter_than_the_back() -> None:
    def middle(turn: float) -> Tensor:
        return draw_layout(ahead(), boxes((12.0, 0.0, 1.4), turn=turn))[0, 0, :, 46, 64]

    assert bool((middle(torch.pi) > middle(0.0) + 0.1).all())  # turned towards the camera it shows its front


def test_lines_lie_where_project_puts_them_and_boxes_hide_them() -> None:
    line = torch.tensor([[[[4.0, 0.5, 0.0], [40.0, 0.5, 0.0]], [[torch.nan] * 3] * 2]])
    image = draw_layout(ahead(), boxes((0.0, 0.0, -50.0)), line)
    white = (image[0, 0] > 0.99).all(0)
    for x in (5.0, 8.0, 15.0, 30.0):
        (u, v), _ = project(ahead()[0], torch.tensor([[[x, 0.5, 0.0]]]))[0][0, 0], None
        assert bool(white[int(v), int(u) - 1 : int(u) + 2].any()), x
    assert white.sum() < 400
    hidden = draw_layout(ahead(), boxes((8.0, 0.5, 0.8)), line)
    assert bool(((hidden[0, 0] > 0.99).all(0) & changed(draw_layout(ahead(), boxes((8.0, 0.5, 0.8))))).sum() == 0)


def test_the_boxes_of_a_scene_hold_their_things_and_move_with_them() -> None:
    scene, cameras = moving(), flying(3)
    found = boxes_of(scene, cameras.time_s)
    position, rotation = scene.motion.at(cameras.time_s)
    for n in range(5):  # one part each: the box is the part's own
        assert torch.allclose(found.center[0, :, n + 1], position[0, :, n], atol=1e-5)
        assert torch.allclose(found.rotation[0, :, n + 1], rotation[0, :, n], atol=1e-5)
        assert torch.allclose(found.size[0, :, n + 1], scene.size[0, n].expand(3, 3), atol=1e-4)
    assert found.semantic[0, 0] == -1  # the ground has none
    image = scene_layout(scene, cameras)
    assert image.shape == (1, 3, 3, 40, 56) and bool(((image >= 0) & (image <= 1)).all())
    assert not torch.equal(image[:, 0], image[:, 2])


def test_the_background_is_that_of_the_classes_given() -> None:
    classes = torch.full((1, 1, 1, 96, 128), int(SemanticClass.ROAD))
    image = draw_layout(ahead(), boxes((0.0, 0.0, -50.0)), classes=classes)
    assert torch.equal(image[0, 0], color(SemanticClass.ROAD).expand(3, 96, 128))


def test_boxes_for_other_cameras_are_refused() -> None:
    with pytest.raises(InputError, match="expected"):
        draw_layout(ahead()[:, [0, 0]], boxes((8.0, 0.0, 0.8)))
