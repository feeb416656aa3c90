"""Each unit solid against its own inequality and its mesh."""

import pytest
import torch

from geometry.transforms import rotation_about
from tests.scenes.truth import SOLIDS, inside, mesh, walk
from worldgen.scenes.shapes import Shape, enter, reach_below, unit_normal


def some_rays(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays [count, 3] from outside towards points near the solid, directions of any length; float64."""
    origin = torch.nn.functional.normalize(torch.randn(count, 3).double(), dim=-1) * (2 + 3 * torch.rand(count, 1))
    return origin, (1.5 * torch.randn(count, 3) - origin) * (0.3 + torch.rand(count, 1))


@pytest.mark.parametrize("kind", SOLIDS)
def test_a_ray_enters_a_solid_where_walking_along_it_first_gets_inside(kind: Shape) -> None:
    origin, direction = some_rays(1500)
    entered = enter(kind, origin.T, direction.T)
    walked = walk(kind, origin, direction, far=10.0)
    assert 0.15 < float(walked.isfinite().double().mean()) < 0.85
    assert torch.allclose(entered[walked.isfinite()], walked[walked.isfinite()], atol=1e-6)
    # A step can walk over a corner thinner than itself: there, something just behind the entry must be inside.
    corner = entered.isfinite() & walked.isinf()
    behind = entered[corner, None] + torch.logspace(-9, -2, 200).double()
    points = origin[corner, None] + behind[..., None] * direction[corner, None]
    assert corner.double().mean() < 0.01
    assert inside(kind, points).any(-1).all()


@pytest.mark.parametrize("kind", SOLIDS)
def test_a_ray_that_starts_behind_or_points_away_does_not_enter(kind: Shape) -> None:
    origin, direction = some_rays(500)
    t = enter(kind, origin.T, direction.T)
    hit = t.isfinite()
    assert hit.any()
    assert enter(kind, origin[hit].T, -direction[hit].T).isinf().all()
    assert enter(kind, (origin + 20 * direction)[hit].T, direction[hit].T).isinf().all()


@pytest.mark.parametrize("kind", SOLIDS)
def test_rays_along_the_axes_are_no_special_case(kind: Shape) -> None:
    axes = torch.cat([torch.eye(3), -torch.eye(3)])
    entered = enter(kind, (-4 * axes + 0.1).T, axes.T)
    assert torch.allclose(entered.double(), walk(kind, (-4 * axes + 0.1).double(), axes.double(), 8.0), atol=1e-5)
    assert entered.isfinite().all()


def test_rays_nearly_parallel_to_a_cone_s_side_keep_their_digits() -> None:
    tilt = torch.tensor([0.0, 1e-7, -1e-6, 1e-5, -1e-4, 1e-3], dtype=torch.float64)
    direction = torch.stack([1 + tilt, 0 * tilt, torch.full_like(tilt, -2.0)], -1)
    origin = torch.tensor([-0.3, 0.2, 0.5], dtype=torch.float64) - 2 * direction
    walked = walk(Shape.CONE, origin, direction, 4.0)
    assert walked.isfinite().all()
    assert torch.allclose(enter(Shape.CONE, origin.float().T, direction.float().T).double(), walked, atol=1e-5)


@pytest.mark.parametrize("kind", SOLIDS)
def test_normals_are_those_of_the_mesh(kind: Shape) -> None:
    solid = mesh(kind)
    centre = torch.from_numpy(solid.triangles_center.copy())
    wanted = torch.from_numpy(solid.face_normals.copy())
    if kind == Shape.BOX:  # the centre of a triangle says which face it is on
        centre = centre + 0.1 * torch.randn_like(centre) * (centre.abs() < 0.9)
    normal = torch.nn.functional.normalize(unit_normal(torch.full((len(centre),), int(kind)), centre.T), dim=0)
    assert (normal.T * wanted).sum(-1).min() > 0.999


@pytest.mark.parametrize("kind", SOLIDS)
def test_a_solid_reaches_below_its_centre_as_far_as_its_mesh(kind: Shape) -> None:
    rotation = rotation_about(torch.randn(20, 3).double(), 3 * torch.randn(20).double())
    size = 0.2 + torch.rand(20, 3).double()
    vertices = torch.from_numpy(mesh(kind).vertices.copy())
    lowest = torch.einsum("bij,bj,vj->bvi", rotation, size, vertices)[..., 2].amin(-1)
    assert torch.allclose(reach_below(torch.full((20,), int(kind)), rotation, size), -lowest, atol=1e-3)
