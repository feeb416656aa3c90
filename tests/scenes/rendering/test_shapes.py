"""Each unit solid against its own inequality and its mesh."""

import pytest
import torch

from geometry.rotation.transforms import rotation_about
from tests.scenes.truth import ALL_SOLIDS, FORM, SOLIDS, inside, mesh, walk
from worldgen.scenes.rendering.torch.shapes import enter, enter_triangle, unit_normal
from worldgen.scenes.shapes import Shape, bounding_radius, reach_below


def some_rays(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays [count, 3] from outside towards points near the solid, directions of any length; float64."""
    origin = torch.nn.functional.normalize(torch.randn(count, 3).double(), dim=-1) * (2 + 3 * torch.rand(count, 1))
    return origin, (1.5 * torch.randn(count, 3) - origin) * (0.3 + torch.rand(count, 1))


def form(like: torch.Tensor) -> torch.Tensor:
    """The form [2, 1] of every solid here."""
    return torch.tensor(FORM).to(like)[:, None]


@pytest.mark.parametrize("kind", ALL_SOLIDS)
def test_a_ray_enters_a_solid_where_walking_along_it_first_gets_inside(kind: Shape) -> None:
    origin, direction = some_rays(1500)
    entered = enter(kind, origin.T, direction.T, form(origin))
    walked = walk(kind, origin, direction, far=10.0)
    assert 0.15 < float(walked.isfinite().double().mean()) < 0.85
    close = torch.isclose(entered[walked.isfinite()], walked[walked.isfinite()], atol=1e-6)
    # A ray that grazes a torus outlasts the steps taken towards it: its silhouette is sharp to a few thousandths.
    assert close.double().mean() > (0.985 if kind == Shape.TORUS else 0.9999)
    # A step can walk over a corner thinner than itself: there, something just behind the entry must be inside.
    corner = entered.isfinite() & walked.isinf()
    behind = entered[corner, None] + torch.logspace(-9, -2, 200).double()
    points = origin[corner, None] + behind[..., None] * direction[corner, None]
    assert corner.double().mean() < 0.01
    assert inside(kind, points).any(-1).all()


@pytest.mark.parametrize("kind", ALL_SOLIDS)
def test_a_ray_that_starts_behind_or_points_away_does_not_enter(kind: Shape) -> None:
    origin, direction = some_rays(500)
    t = enter(kind, origin.T, direction.T, form(origin))
    hit = t.isfinite()
    assert hit.any()
    assert enter(kind, origin[hit].T, -direction[hit].T, form(origin)).isinf().all()
    assert enter(kind, (origin + 20 * direction)[hit].T, direction[hit].T, form(origin)).isinf().all()


@pytest.mark.parametrize("kind", ALL_SOLIDS)
def test_rays_along_the_axes_are_not_a_special_case(kind: Shape) -> None:
    axes = torch.cat([torch.eye(3), -torch.eye(3)])
    entered = enter(kind, (-4 * axes + 0.1).T, axes.T, form(axes))
    assert torch.allclose(entered.double(), walk(kind, (-4 * axes + 0.1).double(), axes.double(), 8.0), atol=1e-5)
    assert entered.isfinite().sum() == (4 if kind == Shape.TORUS else 6)  # along its axis a torus has its hole


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
    center = torch.from_numpy(solid.triangles_center.copy())
    wanted = torch.from_numpy(solid.face_normals.copy())
    if kind == Shape.BOX:  # the center of a triangle says which face it is on
        center = center + 0.1 * torch.randn_like(center) * (center.abs() < 0.9)
    normal = torch.nn.functional.normalize(unit_normal(torch.full((len(center),), int(kind)), center.T), dim=0)
    assert (normal.T * wanted).sum(-1).min() > 0.999


@pytest.mark.parametrize("kind", SOLIDS)
def test_a_solid_reaches_below_its_center_as_far_as_its_mesh(kind: Shape) -> None:
    rotation = rotation_about(torch.randn(20, 3).double(), 3 * torch.randn(20).double())
    size = 0.2 + torch.rand(20, 3).double()
    vertices = torch.from_numpy(mesh(kind).vertices.copy())
    lowest = torch.einsum("bij,bj,vj->bvi", rotation, size, vertices)[..., 2].amin(-1)
    assert torch.allclose(reach_below(torch.full((20,), int(kind)), rotation, size), -lowest, atol=1e-3)


@pytest.mark.parametrize("kind", ALL_SOLIDS)
def test_normals_stand_on_the_surface_and_point_out_of_it(kind: Shape) -> None:
    origin, direction = some_rays(2000)
    t = enter(kind, origin.T, direction.T, form(origin))
    hit = t.isfinite()
    point = (origin + t[:, None] * direction)[hit]
    kinds = torch.full((len(point),), int(kind))
    normal = unit_normal(kinds, point.T, form(origin).expand(-1, len(point))).T
    normal = torch.nn.functional.normalize(normal, dim=-1)
    assert ((normal * direction[hit]).sum(-1) < 1e-6).double().mean() > 0.995
    # A short step along the surface leaves it by less than a step off it does.
    assert (~inside(kind, point + 1e-3 * normal)).double().mean() > 0.995
    assert inside(kind, point - 1e-3 * normal).double().mean() > 0.99
    tangent = torch.nn.functional.normalize(torch.linalg.cross(normal, torch.randn_like(normal)), dim=-1)
    for step in (1e-3 * tangent, -1e-3 * tangent):
        assert inside(kind, point + step - 3e-5 * normal).double().mean() > 0.93
        assert (~inside(kind, point + step + 3e-5 * normal)).double().mean() > 0.93


@pytest.mark.parametrize("kind", ALL_SOLIDS)
def test_the_bounding_ball_holds_the_solid_and_is_not_much_larger_than_its_box_s(kind: Shape) -> None:
    size = 0.1 + torch.rand(40, 3).double()
    points = 2 * torch.rand(4000, 3).double() - 1
    points = points[inside(kind, points)]
    kinds, forms = torch.full((40,), int(kind)), form(size).T.expand(40, -1)
    radius = bounding_radius(kinds, size, forms)
    furthest = (points * size[:, None]).norm(dim=-1).amax(-1)
    assert bool((furthest <= radius).all()) and bool((radius <= size.norm(dim=-1) * 1.001).all())
    rotation = rotation_about(torch.randn(40, 3).double(), 3 * torch.randn(40).double())
    lowest = torch.einsum("bij,bj,vj->bvi", rotation, size, points)[..., 2].amin(-1)
    reach = reach_below(kinds, rotation, size, forms)
    slack = 1.5 if kind != Shape.SUPERQUADRIC else 2.0  # the last is given its box's
    assert bool((reach >= -lowest - 1e-6).all()) and bool((reach <= -lowest * slack + 0.05).all())


def test_a_ray_crosses_a_triangle_where_its_plane_is_if_the_crossing_is_within_the_edges() -> None:
    corners = torch.randn(500, 3, 3).double()
    weights = torch.rand(500, 3).double()
    weights = weights / weights.sum(-1, keepdim=True)
    within = torch.rand(500) < 0.5
    weights[~within, 0] *= -1  # outside of one edge
    weights = weights / weights.sum(-1, keepdim=True)
    target = (weights[..., None] * corners).sum(1)
    origin = torch.randn(500, 3).double()
    t = enter_triangle(corners.permute(1, 2, 0), origin.T, (2.5 * (target - origin)).T)
    assert torch.allclose(t[within], torch.tensor(0.4).double(), atol=1e-6) and bool(t[~within].isinf().all())
    away = enter_triangle(corners.permute(1, 2, 0), origin.T, (origin - target).T)
    assert bool(away.isinf().all())
