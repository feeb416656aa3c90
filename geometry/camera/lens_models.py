"""Lens models as pure functions between directions and the plane that K takes to pixels.

All take n values for each of m cameras, coefficients [m, 8] and reaches [m] (`geometry.camera.lenses.Lens`), and return
the result and whether the lens has it at all. Radial inverses always converge: the curve rises up to the lens's reach,
so Newton's steps are kept in an interval that is halved where they do not shrink by half (Press et al. 2007, section
9.4). Decentering is undone by damped Newton steps from there. Gradients come from one more Newton step from the
detached root (the implicit function theorem): first derivatives are exact, second ones are not available.
"""

import math
from collections.abc import Callable

import torch

from geometry.shapes import Bool, Float

_STEPS = 30  # at most; about five away from the lens's reach
_Curve = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # x -> value, slope
_Result = tuple[Float[torch.Tensor, "m n c"], Bool[torch.Tensor, "m n"]]
Model = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], _Result]  # values, coefficients, reach


def distort(
    xy: Float[torch.Tensor, "*b n 2"], coefficients: Float[torch.Tensor, "*b k"]
) -> Float[torch.Tensor, "*b n 2"]:
    """Where OpenCV's lens model takes points of the plane z = 1: radial and tangential distortion (Brown 1966).

    With r^2 = x^2 + y^2 and s = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6):
    x' = s x + 2 p1 x y + p2 (r^2 + 2 x^2),  y' = s y + p1 (r^2 + 2 y^2) + 2 p2 x y.

    Args:
        xy: Pinhole positions (x/z, y/z) [*b, n, 2], without a unit.
        coefficients: k1 k2 p1 p2 k3 k4 k5 k6 or the first of them [*b, k], in OpenCV's order.

    Returns:
        Distorted positions [*b, n, 2], which K takes to pixels.
    """
    coefficients = torch.nn.functional.pad(coefficients, (0, 8 - coefficients.shape[-1]))
    p1, p2 = coefficients[..., 2, None], coefficients[..., 3, None]
    x, y = xy.unbind(-1)
    r2 = x * x + y * y
    radial = _radial(r2, coefficients)[0]
    return torch.stack(
        [
            radial * x + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            radial * y + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        -1,
    )


def _radial(r2: torch.Tensor, coefficients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """s and its derivative by r^2."""
    k1, k2, _, _, k3, k4, k5, k6 = (c[..., None] for c in coefficients.unbind(-1))
    over, under = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    rise_over, rise_under = k1 + r2 * (2 * k2 + r2 * 3 * k3), k4 + r2 * (2 * k5 + r2 * 3 * k6)
    return over / under, (rise_over - rise_under * over / under) / under


def pinhole_plane(points: torch.Tensor, coefficients: torch.Tensor, reach: torch.Tensor) -> _Result:
    """x/z, y/z of points; a pinhole shows those in front of it."""
    z = points[..., 2:]
    return points[..., :2] / torch.where(z.abs() < 1e-12, torch.full_like(z, 1e-12), z), z[..., 0] > 0


def pinhole_directions(plane: torch.Tensor, coefficients: torch.Tensor, reach: torch.Tensor) -> _Result:
    """The directions (x, y, 1); a pinhole shows all of them."""
    return _ahead(plane), torch.ones_like(plane[..., 0], dtype=torch.bool)


def opencv_plane(points: torch.Tensor, coefficients: torch.Tensor, reach: torch.Tensor) -> _Result:
    """`distort` of points in front of the camera and within the lens's reach, where it does not fold."""
    xy, seen = pinhole_plane(points, coefficients, reach)
    if bool(reach.isfinite().any()):
        seen = seen & (xy.detach().norm(dim=-1) < reach[:, None])
    if not (all_seen := bool(seen.all())):  # most often all are, and choosing takes longer than the lens itself
        xy = torch.where(seen[..., None], xy, 0.0)
    with torch.no_grad():
        if not _rises_everywhere(xy, coefficients):
            seen = seen & (_determinant(_distortion_jacobian(xy, coefficients)) > 0)
            all_seen = False
    distorted = distort(xy, coefficients)
    return distorted if all_seen else torch.where(seen[..., None], distorted, 0.0), seen


def _rises_everywhere(xy: torch.Tensor, coefficients: torch.Tensor) -> bool:
    """Whether the Jacobian of `distort` is surely positive definite as far out as the points are: nothing folds.

    Its radial part s I + 2 s' (x, y)(x, y)^T has the eigenvalues s and s + 2 r^2 s', with s' the derivative by r^2;
    what decentering adds is no larger than r sqrt(48 (p1^2 + p2^2)).
    """
    x, y = xy.unbind(-1)
    r2 = (x.square() + y.square()).amax() * torch.linspace(0, 1, 257, dtype=xy.dtype, device=xy.device)
    s, rise = _radial(r2, coefficients)
    added = (48 * coefficients[:, 2:4].square().sum(-1, keepdim=True) * r2[-1]).sqrt()
    return bool(
        (torch.minimum(s, s + 2 * r2 * rise) > added + 0.01).all()
    )  # the margin is for what lies between samples


def opencv_directions(plane: torch.Tensor, coefficients: torch.Tensor, reach: torch.Tensor) -> _Result:
    """The directions (x, y, 1) that `distort` takes to the plane's points; those at the lens's edge beyond it."""
    with torch.no_grad():
        xy = _undistorted(plane, coefficients, reach)
        difference, jacobian = _distortion_error(xy, plane, coefficients)
        close = difference.norm(dim=-1) <= 64 * torch.finfo(plane.dtype).eps * (1 + plane.norm(dim=-1))
        seen = close & (xy.norm(dim=-1) < reach[:, None]) & (_determinant(jacobian) > 0)
    step = _solved(jacobian, distort(xy, coefficients) - plane)
    return _ahead(xy - torch.where(seen[..., None], step, torch.zeros_like(step))), seen


def _undistorted(plane: torch.Tensor, coefficients: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    """The inverse of `distort`: of its radial part by its curve, of all of it by damped Newton steps from there."""

    def curve(r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        s, rise = _radial(r * r, coefficients)
        return r * s, s + 2 * r * r * rise

    radius = plane.norm(dim=-1)
    r = _inverse(curve, radius, reach[:, None])
    xy = plane * (r / radius.clamp_min(torch.finfo(plane.dtype).tiny))[..., None]
    if not bool(coefficients[:, 2:4].any()):
        return xy
    difference, jacobian = _distortion_error(xy, plane, coefficients)
    share = torch.ones_like(radius)
    for _ in range(_STEPS):
        if bool((difference.norm(dim=-1) <= 8 * torch.finfo(plane.dtype).eps * (1 + radius)).all()):
            break
        proposal = xy - share[..., None] * _solved(jacobian, difference)
        away = proposal.norm(dim=-1)
        proposal = proposal * (reach[:, None] / away.clamp_min(1e-12)).clamp_max(1)[..., None]
        new_difference, new_jacobian = _distortion_error(proposal, plane, coefficients)
        better = new_difference.norm(dim=-1) < difference.norm(dim=-1)
        xy, difference = (torch.where(better[..., None], *x) for x in ((proposal, xy), (new_difference, difference)))
        jacobian = torch.where(better[..., None], new_jacobian, jacobian)
        share = torch.where(better, (2 * share).clamp_max(1), share / 4)
    return xy


def _distortion_error(
    xy: torch.Tensor, plane: torch.Tensor, coefficients: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far `distort` of xy is from the plane's points, and its Jacobian."""
    return distort(xy, coefficients) - plane, _distortion_jacobian(xy, coefficients)


def _distortion_jacobian(xy: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    """Derivatives (dx'/dx, dx'/dy = dy'/dx, dy'/dy) of `distort`."""
    p1, p2 = coefficients[..., 2, None], coefficients[..., 3, None]
    x, y = xy.unbind(-1)
    s, rise = _radial(x * x + y * y, coefficients)
    jacobian = [
        s + 2 * x * x * rise + 2 * p1 * y + 6 * p2 * x,
        2 * x * y * rise + 2 * p1 * x + 2 * p2 * y,
        s + 2 * y * y * rise + 6 * p1 * y + 2 * p2 * x,
    ]
    return torch.stack(jacobian, -1)


def _determinant(jacobian: torch.Tensor) -> torch.Tensor:
    a, b, c = jacobian.unbind(-1)
    return a * c - b * b


def _solved(jacobian: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The vectors that symmetric 2x2 matrices take to those on the right; finite numbers where there is none."""
    a, b, c = jacobian.unbind(-1)
    determinant = _determinant(jacobian)
    inverse = 1 / torch.where(determinant.abs() < 1e-12, torch.full_like(determinant, 1e-12), determinant)
    x, y = right.unbind(-1)
    return torch.stack([(c * x - b * y) * inverse, (a * y - b * x) * inverse], -1)


def fisheye_powers(coefficients: Float[torch.Tensor, "m 8"]) -> Float[torch.Tensor, "m 9"]:
    """k1 k2 k3 k4 of theta (1 + k1 theta^2 + ... + k4 theta^8) (Kannala and Brandt 2006, eq. 6) as a polynomial's
    coefficients of theta^1 ... theta^9."""
    one, zero = torch.ones_like(coefficients[:, 0]), torch.zeros_like(coefficients[:, 0])
    k1, k2, k3, k4 = coefficients[:, :4].unbind(-1)
    return torch.stack([one, zero, k1, zero, k2, zero, k3, zero, k4], -1)


def f_theta_powers(coefficients: Float[torch.Tensor, "m 8"]) -> Float[torch.Tensor, "m 9"]:
    """k2 ... k9 of theta + k2 theta^2 + ... + k9 theta^9 as a polynomial's coefficients of theta^1 ... theta^9."""
    return torch.cat([torch.ones_like(coefficients[:, :1]), coefficients], -1)


def radial_plane(points: torch.Tensor, powers: torch.Tensor, reach: torch.Tensor) -> _Result:
    """Points to the radius that a polynomial gives of their angle theta to the axis, each in its own meridian."""
    x, y, z = points.unbind(-1)
    across = _length(x, y)
    theta = torch.atan2(across, z)
    seen = (theta.detach() < reach[:, None]) & (points.detach().abs().amax(-1) > 0)
    radius = _polynomial(torch.where(seen, theta, torch.zeros_like(theta)), powers)[0]
    return torch.stack([x, y], -1) * (radius / across)[..., None], seen


def radial_directions(plane: torch.Tensor, powers: torch.Tensor, reach: torch.Tensor) -> _Result:
    """The inverse of `radial_plane`, of unit length; beyond the lens's reach the directions at its edge."""
    radius = _length(*plane.unbind(-1))
    with torch.no_grad():
        theta = _inverse(lambda angle: _polynomial(angle, powers), radius, reach[:, None])
        value, slope = _polynomial(theta, powers)
        close = (value - radius).abs() <= 64 * torch.finfo(plane.dtype).eps * (1 + radius)
        seen = close & (theta < reach[:, None]) & (slope > 0)
    step = (_polynomial(theta, powers)[0] - radius) / torch.where(seen, slope, torch.ones_like(slope))
    theta = theta - torch.where(seen, step, torch.zeros_like(step))
    return torch.cat([plane * (theta.sin() / radius)[..., None], theta.cos()[..., None]], -1), seen


def _polynomial(x: torch.Tensor, powers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and slope of polynomials without a constant, by Horner's rule."""
    value, slope = torch.zeros_like(x), torch.zeros_like(x)
    for power in reversed(powers.unbind(-1)):
        slope = slope * x + value
        value = value * x + power[:, None]
    return value * x, value + slope * x


def panorama_plane(points: torch.Tensor, coefficients: torch.Tensor, reach: torch.Tensor) -> _Result:
    """Longitude (0 ahead, growing to the right) and latitude (growing downwards) of points, radians."""
    x, y, z = points.unbind(-1)
    upright = (x.detach().abs() + z.detach().abs()) == 0  # at a pole any longitude is right
    longitude = torch.atan2(x, torch.where(upright, torch.ones_like(z), z))
    seen = points.detach().abs().amax(-1) > 0
    return torch.stack([longitude, torch.atan2(y, _length(x, z))], -1), seen


def panorama_directions(plane: torch.Tensor, coefficients: torch.Tensor, reach: torch.Tensor) -> _Result:
    """The inverse of `panorama_plane`, of unit length, for longitudes in -pi..pi and latitudes in -pi/2..pi/2."""
    longitude, latitude = plane.unbind(-1)
    once = math.pi * (1 + 4 * torch.finfo(plane.dtype).eps)
    seen = (longitude.abs() <= once) & (latitude.abs() <= once / 2)
    latitude = latitude.clamp(-math.pi / 2, math.pi / 2)
    flat = latitude.cos()
    return torch.stack([flat * longitude.sin(), latitude.sin(), flat * longitude.cos()], -1), seen


def opencv_reach(coefficients: Float[torch.Tensor, "m 8"]) -> Float[torch.Tensor, "m"]:
    """The radius on z = 1 at which the radial part of `distort` stops growing (it folds over there) or ends in a pole;
    inf if never."""
    k1, k2, _, _, k3, k4, k5, k6 = coefficients.unbind(-1)
    one = torch.ones_like(k1)
    over, under = torch.stack([one, k1, k2, k3], -1), torch.stack([one, k4, k5, k6], -1)
    # With t = r^2, the derivative of r N(t) / D(t) has the sign of N D + 2 t (N' D - N D').
    slope = torch.zeros(len(k1), 7, dtype=k1.dtype, device=k1.device)
    for i in range(4):
        for j in range(4):
            slope[:, i + j] += (1 + 2 * i - 2 * j) * over[:, i] * under[:, j]
    return torch.minimum(_first_root(slope), _first_root(under)).sqrt()


def radial_reach(powers: Float[torch.Tensor, "m 9"]) -> Float[torch.Tensor, "m"]:
    """The angle at which the radius stops growing, at most pi."""
    slope = powers * torch.arange(1, 10, dtype=powers.dtype, device=powers.device)
    return _first_root(slope).clamp_max(math.pi)


def _first_root(polynomial: torch.Tensor) -> torch.Tensor:
    """The least positive root of polynomials 1 + a x + b x^2 ...; inf where there is none.

    The roots are the inverse eigenvalues of the companion matrix, which is well-behaved in this order of coefficients
    even if the last ones are 0.
    """
    count = polynomial.shape[-1] - 1
    companion = torch.zeros(len(polynomial), count, count, dtype=torch.float64)
    companion[:, 0] = -polynomial[:, 1:].double().cpu()
    companion[:, range(1, count), range(count - 1)] = 1
    values = torch.linalg.eigvals(companion)
    real = (values.imag.abs() < 1e-9 * values.abs().clamp_min(1)) & (values.real > 1e-9)
    return (1 / torch.where(real, values.real, 0.0).amax(-1)).to(polynomial)


def _inverse(curve: _Curve, target: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """x in [0, end] with curve(x) = target, for a curve that rises from 0 with slope 1 up to there; nearly `end` (which
    may be inf) where the target lies beyond."""
    low, high = torch.zeros_like(target), end.expand_as(target)
    x = torch.where(target < high, target, high / 2)  # the end itself may be a pole
    step, done = torch.full_like(x, torch.inf), torch.zeros_like(x, dtype=torch.bool)
    small = 4 * torch.finfo(x.dtype).eps
    for _ in range(_STEPS):
        value, slope = curve(x)
        done |= (value - target).abs() <= small * target
        below = value < target
        low, high = torch.where(below, x, low), torch.where(below, high, x)
        newton = x - (value - target) / slope
        fits = (newton >= low) & (newton <= high) & ((newton - x).abs() <= step / 2)
        proposal = torch.where(fits, newton, torch.where(high.isfinite(), (low + high) / 2, 2 * low))
        step = (proposal - x).abs()
        x = torch.where(done, x, proposal)
        done |= step <= small * x
        if bool(done.all()):
            break
    return x


def _length(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """sqrt(x^2 + y^2), a little more than 0 at 0 so that ratios to it and its gradient stay finite."""
    return (x * x + y * y + torch.finfo(x.dtype).tiny ** 0.75).sqrt()


def _ahead(xy: torch.Tensor) -> torch.Tensor:
    return torch.cat([xy, torch.ones_like(xy[..., :1])], -1)
