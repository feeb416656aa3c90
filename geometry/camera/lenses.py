"""`Lens`: how cameras bend rays, as a frozen batch, so that pinholes and fisheyes can be in one batch.

A lens maps between directions in camera axes and the plane that K takes to pixels:

PINHOLE          x' = x/z, y' = y/z
OPENCV           that, distorted: k1 k2 p1 p2 k3 k4 k5 k6 (`geometry.camera.lens_models.distort`), as in OpenCV
FISHEYE          radius theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) of the angle theta to the axis
                 (Kannala and Brandt 2006), as in OpenCV's fisheye module and COLMAP's OPENCV_FISHEYE
F_THETA          radius theta + k2 theta^2 + ... + k9 theta^9: what NVIDIA's rigs call f-theta, with the pixels per
                 radian on the axis in K. A polynomial in pixels c1 theta + c2 theta^2 + ... has fx = fy = c1 and
                 k2 = c2 / c1
EQUIRECTANGULAR  longitude and latitude in radians: a whole panorama of h x 2h has fx = fy = h / pi

Near the axis all but the last equal the pinhole of the same K. Perspective lenses (the first two) have directions with
z = 1 and z-depth. The others show directions beyond 90 degrees, where z means nothing: their directions have unit
length, and their depth is the distance along the ray.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import torch

from geometry.camera import lens_models as models
from geometry.errors import InputError
from geometry.shapes import Bool, Float, Int
from geometry.values import as_value

COEFFICIENTS = 8


class LensKind(IntEnum):
    """The lens models (`geometry.camera.lenses`)."""

    PINHOLE = 0
    OPENCV = 1
    FISHEYE = 2
    F_THETA = 3
    EQUIRECTANGULAR = 4


_MOST = {LensKind.PINHOLE: 0, LensKind.OPENCV: 8, LensKind.FISHEYE: 4, LensKind.F_THETA: 8, LensKind.EQUIRECTANGULAR: 0}


@as_value
@dataclass(frozen=True)
class Lens:
    """Lenses of any batch shape b, one per camera.

    Attributes:
        kind: `LensKind` [*b].
        coefficients: Numbers of the model [*b, 8], in the order of `geometry.camera.lenses`, zeros where a kind has
            fewer.
        reach: How far from the axis the lens shows anything [*b]: the radius on z = 1 for perspective lenses, the angle
            in radians for the others. By default up to where the model folds over or ends.
    """

    kind: Int[torch.Tensor, "*b"]
    coefficients: Float[torch.Tensor, "*b 8"]
    reach: Float[torch.Tensor, "*b"] = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        if self.coefficients.shape != (*self.kind.shape, COEFFICIENTS):
            raise InputError(
                f"lenses: kinds {tuple(self.kind.shape)} with coefficients {tuple(self.coefficients.shape)}; "
                f"expected [*b] and [*b, {COEFFICIENTS}] with the same b"
            )
        if self.reach is None:
            object.__setattr__(self, "reach", self._whole_reach())

    @staticmethod
    def of(kind: LensKind, coefficients: Float[torch.Tensor, "*b k"]) -> "Lens":
        """Lenses of one kind.

        Args:
            kind: The model.
            coefficients: Its numbers [*b, k]; those left out at the end are 0.

        Raises:
            InputError: If there are more coefficients than the kind has, or one is NaN or Inf.
        """
        if coefficients.shape[-1] > _MOST[kind]:
            raise InputError(f"{kind.name} lens of {coefficients.shape[-1]} coefficients; expected up to {_MOST[kind]}")
        if not bool(coefficients.isfinite().all()):
            raise InputError(f"lens coefficients {coefficients.tolist()}; expected finite numbers")
        kinds = torch.full(coefficients.shape[:-1], int(kind), dtype=torch.long, device=coefficients.device)
        return Lens(kinds, torch.nn.functional.pad(coefficients, (0, COEFFICIENTS - coefficients.shape[-1])))

    @property
    def shape(self) -> torch.Size:
        """The batch shape b."""
        return self.kind.shape

    @property
    def perspective(self) -> Bool[torch.Tensor, "*b"]:
        """Whether each has z-depth [*b]; the others' depth is the distance along the ray."""
        return self.kind <= LensKind.OPENCV

    def project(
        self, points: Float[torch.Tensor, "*b n 3"]
    ) -> tuple[Float[torch.Tensor, "*b n 2"], Float[torch.Tensor, "*b n"]]:
        """Points in camera axes to the plane of K.

        Args:
            points: Points [*b, n, 3] in metres.

        Returns:
            Positions on the plane [*b, n, 2], and depth [*b, n] in metres. Where the lens does not show the point
            (behind a perspective lens, or beyond its reach) the depth is not positive and the position means nothing.
        """
        plane, seen = self._by_kind(_PLANES, points)
        depth, perspective = points[..., 2], self.perspective
        if not bool(perspective.all()):
            depth = torch.where(perspective[..., None], depth, points.norm(dim=-1))
        return plane, torch.where(seen, depth, -depth.abs())

    def directions(
        self, plane: Float[torch.Tensor, "*b n 2"]
    ) -> tuple[Float[torch.Tensor, "*b n 3"], Bool[torch.Tensor, "*b n"]]:
        """Directions in camera axes of points on the plane of K.

        Args:
            plane: Positions on the plane [*b, n, 2].

        Returns:
            Directions [*b, n, 3], and whether the lens shows anything there [*b, n]. Where it does not, the direction
            is one at the lens's edge.
        """
        return self._by_kind(_DIRECTIONS, plane)

    def __getitem__(self, index: Any) -> "Lens":
        """Index the batch axes, as a tensor of shape b would be indexed."""
        order = torch.arange(self.shape.numel(), device=self.kind.device).reshape(self.shape)[index]
        return self._map(lambda values, tail: values.reshape(-1, *tail)[order])

    def reshape(self, *shape: int) -> "Lens":
        """The same lenses with another batch shape."""
        return self._map(lambda values, tail: values.reshape(*shape, *tail))

    def to(self, target: torch.device | torch.dtype | str) -> "Lens":
        """The same lenses on another device, or in another float type."""
        kind = self.kind if isinstance(target, torch.dtype) else self.kind.to(target)
        return replace(self, kind=kind, coefficients=self.coefficients.to(target), reach=self.reach.to(target))

    @staticmethod
    def cat(parts: Sequence["Lens"]) -> "Lens":
        """Join along the last batch axis."""
        kind, reach = (torch.cat([getattr(part, name) for part in parts], -1) for name in ("kind", "reach"))
        return Lens(kind, torch.cat([part.coefficients for part in parts], -2), reach)

    def _map(self, function: Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor]) -> "Lens":
        """Lenses whose fields are a function of each field and the shape it has after the batch axes."""
        return Lens(function(self.kind, ()), function(self.coefficients, (COEFFICIENTS,)), function(self.reach, ()))

    def _whole_reach(self) -> torch.Tensor:
        kind, coefficients = self.kind.flatten(), self.coefficients.detach().reshape(-1, COEFFICIENTS)
        reach = torch.full_like(coefficients[:, 0], torch.inf)
        for model, find in _REACHES.items():
            if bool((kind == model).any()):
                reach = torch.where(kind == model, find(coefficients), reach)
        return reach.reshape(self.shape)

    def _by_kind(self, functions: dict[LensKind, models.Model], values: torch.Tensor) -> Any:
        """The result of each lens's function for values [*b, n, c], and its mask [*b, n]."""
        kind, flat = self.kind.flatten(), values.reshape(self.shape.numel(), *values.shape[-2:])
        coefficients, reach = self.coefficients.reshape(-1, COEFFICIENTS), self.reach.flatten()
        kinds = kind.unique().tolist() or [LensKind.PINHOLE]
        if len(kinds) == 1:
            result, seen = functions[LensKind(kinds[0])](flat, coefficients, reach)
        else:
            rows = [(kind == one).nonzero()[:, 0] for one in kinds]
            parts = [functions[LensKind(k)](flat[r], coefficients[r], reach[r]) for k, r in zip(kinds, rows)]
            back = torch.cat(rows).argsort()
            result, seen = (torch.cat(part)[back] for part in zip(*parts))
        return result.reshape(*self.shape, *result.shape[-2:]), seen.reshape(*self.shape, seen.shape[-1])


def _of_powers(model: models.Model, powers: Callable[[torch.Tensor], torch.Tensor]) -> models.Model:
    return lambda values, coefficients, reach: model(values, powers(coefficients), reach)


_PLANES: dict[LensKind, models.Model] = {
    LensKind.PINHOLE: models.pinhole_plane,
    LensKind.OPENCV: models.opencv_plane,
    LensKind.FISHEYE: _of_powers(models.radial_plane, models.fisheye_powers),
    LensKind.F_THETA: _of_powers(models.radial_plane, models.f_theta_powers),
    LensKind.EQUIRECTANGULAR: models.panorama_plane,
}
_DIRECTIONS: dict[LensKind, models.Model] = {
    LensKind.PINHOLE: models.pinhole_directions,
    LensKind.OPENCV: models.opencv_directions,
    LensKind.FISHEYE: _of_powers(models.radial_directions, models.fisheye_powers),
    LensKind.F_THETA: _of_powers(models.radial_directions, models.f_theta_powers),
    LensKind.EQUIRECTANGULAR: models.panorama_directions,
}
_REACHES: dict[LensKind, Callable[[torch.Tensor], torch.Tensor]] = {
    LensKind.OPENCV: models.opencv_reach,
    LensKind.FISHEYE: lambda coefficients: models.radial_reach(models.fisheye_powers(coefficients)),
    LensKind.F_THETA: lambda coefficients: models.radial_reach(models.f_theta_powers(coefficients)),
}
