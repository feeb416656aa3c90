"""Similarities between worlds: scale, rotation and translation as one value, which has an inverse."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch

from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value

Moved = TypeVar("Moved", bound="Transformable")
_NAME = "stored_from_user"
_RANK = 1e-6  # of the covariance: a thousandth of the length of a line beside it


@runtime_checkable
class Transformable(Protocol):
    """A value in a world: `Cameras`, `PointCloud`, `Mesh`, `TexturedMesh`, `Splats`, or a type of your own."""

    def transformed(self: Moved, new_from_old: "Similarity") -> Moved:
        """The same value in the new world."""
        ...

    def with_float64_positions(self: Moved) -> Moved:
        """The same value with its positions in the world, at least, in float64."""
        ...


@as_value
@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation, of any batch shape b. `new_from_old @ old_from_older` composes two.

    Values in memory are in the user's frame and units. Writers take a `stored_from_user` for tools that want others and
    keep it in the file; readers undo it.

    Attributes:
        scale: What a length of 1 in the old world is in the new one [*b], more than 0.
        rotation: Rotation matrices [*b, 3, 3].
        translation: Translations [*b, 3] in the new world's unit.
    """

    scale: Float[torch.Tensor, "*b"]
    rotation: Float[torch.Tensor, "*b 3 3"]
    translation: Float[torch.Tensor, "*b 3"]

    def __post_init__(self) -> None:
        if not bool((self.scale > 0).all() & self.scale.isfinite().all()):
            raise InputError(f"similarity of scale {self.scale.flatten()[:4].tolist()}; expected finite, more than 0")
        b = self.scale.shape
        if self.rotation.shape != (*b, 3, 3) or self.translation.shape != (*b, 3):
            raise InputError(
                f"similarity of scale {tuple(b)}, rotation {tuple(self.rotation.shape)}, translation "
                f"{tuple(self.translation.shape)}; expected [*b], [*b, 3, 3] and [*b, 3]"
            )
        turn = self.rotation.detach().double()
        off = (turn @ turn.mT - torch.eye(3, dtype=turn.dtype, device=turn.device)).abs()
        if not bool((off < 1e-3).all() and (torch.linalg.det(turn) > 0).all() and self.translation.isfinite().all()):
            raise InputError("similarity that mirrors, shears or has NaN or Inf; expected a rotation and a translation")

    @staticmethod
    def identity(dtype: torch.dtype = torch.float64) -> "Similarity":
        """The similarity that changes nothing."""
        return Similarity(torch.ones((), dtype=dtype), torch.eye(3, dtype=dtype), torch.zeros(3, dtype=dtype))

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        none = Similarity.identity()
        return all(torch.equal(getattr(self, name).double().cpu(), values) for name, values in vars(none).items())

    @staticmethod
    def normalizing(points: Float[torch.Tensor, "n 3"]) -> "Similarity":
        """The similarity that moves the mean of points to the origin and scales their mean distance from it to 1.

        Args:
            points: Points [n, 3] in the old world.

        Raises:
            InputError: If there are no points, or all are in one place.
        """
        points = points.double()
        middle = points.mean(0)
        spread = (points - middle).norm(dim=-1).mean()
        if not bool(spread > 1e-12):
            raise InputError(f"{len(points)} points within {float(spread):.3g}; expected some in different places")
        return Similarity(1 / spread, torch.eye(3, dtype=torch.float64), -middle / spread)

    @staticmethod
    def between(
        source: Float[torch.Tensor, "*b n 3"],
        target: Float[torch.Tensor, "*b n 3"],
        scaled: bool = True,
        orientations: tuple[Float[torch.Tensor, "*b n 3 3"], Float[torch.Tensor, "*b n 3 3"]] | None = None,
    ) -> "Similarity":
        """The similarity that best maps points to others, in least squares (Umeyama 1991, eq. 40 to 42).

        It never mirrors. Points on a line, as two points always are, leave a turn about it free, and points in one
        place any turn; the orientations of cameras there decide.

        Args:
            source: Points [*b, n, 3] in the old world.
            target: The same points [*b, n, 3] in the new world.
            scaled: Whether to fit a scale; else it is 1. It is 1 too for points that are all in one place.
            orientations: Rotations [*b, n, 3, 3] at the points in the old and in the new world, which count only where
                the points leave a turn free.

        Returns:
            A similarity of batch shape b, in the float type of `source`.

        Raises:
            InputError: The points leave a turn free, and there are no orientations.
        """
        means = [points.double().mean(-2, keepdim=True) for points in (source, target)]
        centered = [points.double() - mean for points, mean in zip((source, target), means)]
        covariance = centered[1].mT @ centered[0] / source.shape[-2]
        u, d, vt = torch.linalg.svd(covariance)
        sign = torch.ones_like(d)
        sign[..., 2] = torch.where(torch.linalg.det(u @ vt) < 0, -1.0, 1.0)
        turn = u @ torch.diag_embed(sign) @ vt
        free = d[..., 1] <= _RANK * d[..., 0].clamp_min(1e-30)  # points on a line: the rest is rounding
        if bool(free.any()):
            if orientations is None:
                raise InputError(
                    f"alignment of {source.shape[-2]} points on a line or in one place, which leaves a turn free; "
                    "expected three that are not, or orientations"
                )
            same = d[..., 0] <= 1e-18
            turn = torch.where(free[..., None, None], _turned(turn, u[..., 0], same, orientations), turn)
        variance = centered[0].square().sum(-1).mean(-1)
        scale = torch.where(scaled & (variance > 1e-18), (d * sign).sum(-1) / variance.clamp_min(1e-18), 1.0)
        scale = scale.clamp_min(torch.finfo(scale.dtype).tiny)
        shift = means[1][..., 0, :] - scale[..., None] * (turn @ means[0][..., 0, :, None]).squeeze(-1)
        return Similarity(scale.to(source.dtype), turn.to(source.dtype), shift.to(source.dtype))

    def inverse(self) -> "Similarity":
        """The similarity from the new world to the old one."""
        back = self.rotation.mT
        shift = -(back @ self.translation[..., None]).squeeze(-1) / self.scale[..., None]
        return Similarity(1 / self.scale, back, shift)

    def __matmul__(self, first: "Similarity") -> "Similarity":
        """First another similarity, then this one."""
        shift = self.points(first.translation[..., None, :])[..., 0, :]
        return Similarity(self.scale * first.scale, self.rotation @ first.rotation, shift)

    def points(self, points: Float[torch.Tensor, "*b n 3"]) -> Float[torch.Tensor, "*b n 3"]:
        """Points of the old world [*b, n, 3] in the new one."""
        scale, rotation, shift = (t.to(points) for t in (self.scale, self.rotation, self.translation))
        return scale[..., None, None] * (points @ rotation.mT) + shift[..., None, :]

    def depth(self, depth: Float[torch.Tensor, "*b h w"]) -> Float[torch.Tensor, "*b h w"]:
        """Depth [*b, h, w], or any other length, in the new world's unit; 0 (unknown) and inf (sky) stay."""
        return depth * self.scale.to(depth)[..., None, None]

    def apply(self, value: Moved) -> Moved:
        """Cameras, a point cloud, a mesh, splats or any other `Transformable` in the new world."""
        return value.transformed(self)

    def undo(self, value: Moved) -> Moved:
        """A value of the new world in the old one, its positions in float64, because worlds may be large."""
        return self.inverse().apply(value.with_float64_positions())

    def to_line(self) -> str:
        """A line for the comments of a file, which `from_lines` finds there."""
        return f"{_NAME} {json.dumps(self.to_json())}"

    @staticmethod
    def from_lines(lines: Iterable[str], where: str) -> "Similarity | None":
        """The similarity of a line of `to_line` among others; None if there is none.

        Raises InputError, naming `where`, for a line that is not one.
        """
        found = next((line for line in lines if line.startswith(f"{_NAME} ")), None)
        if found is None:
            return None
        try:
            data = json.loads(found.removeprefix(_NAME))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: comment {found[:60]!r}; expected a similarity in JSON") from error
        return Similarity.from_json(data, where)

    def to_json(self) -> dict[str, Any]:
        """A value for JSON, from which `from_json` makes the same similarity bit for bit, in float64."""
        values = {name: getattr(self, name).double().tolist() for name in ("scale", "rotation", "translation")}
        return {"means": "new = scale * rotation @ old + translation", **values}

    @staticmethod
    def from_json(data: Any, where: str = "similarity") -> "Similarity":
        """The similarity of a value of `to_json`. Raises InputError, naming `where`, for anything else."""
        try:
            scale, rotation, shift = (
                torch.tensor(data[name], dtype=torch.float64) for name in ("scale", "rotation", "translation")
            )
        except (TypeError, KeyError, ValueError, IndexError) as error:
            raise InputError(f"{where}: {str(data)[:60]!r}; expected scale, rotation and translation") from error
        if scale.shape != () or rotation.shape != (3, 3) or shift.shape != (3,) or not bool(shift.isfinite().all()):
            raise InputError(f"{where}: {str(data)[:60]!r}; expected one number, 3x3 numbers and 3 numbers")
        try:
            return Similarity(scale, rotation, shift)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error


def _turned(
    turn: torch.Tensor, axis: torch.Tensor, same: torch.Tensor, orientations: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """A rotation turned further about an axis, or where all points are the `same` any other, so that it takes the first
    orientations to the second as well as it can."""
    before, after = (rotations.double() for rotations in orientations)
    across = (turn[..., None, :, :] @ before @ after.mT).sum(-3)  # to be turned back to a multiple of the identity
    along = (axis[..., None, :] @ across @ axis[..., :, None])[..., 0, 0]
    skew = torch.stack([across[..., 1, 2] - across[..., 2, 1], across[..., 2, 0] - across[..., 0, 2],
                        across[..., 0, 1] - across[..., 1, 0]], -1)  # fmt: skip
    angle = torch.atan2((axis * skew).sum(-1), across.diagonal(dim1=-2, dim2=-1).sum(-1) - along)
    u, _, vt = torch.linalg.svd((after @ before.mT).sum(-3))
    sign = torch.ones_like(u[..., 0])
    sign[..., 2] = torch.where(torch.linalg.det(u @ vt) < 0, -1.0, 1.0)
    x, y, z = (angle[..., None] * axis).unbind(-1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], -1).unflatten(-1, (3, 3))
    about = torch.linalg.matrix_exp(cross) @ turn
    return torch.where(same[..., None, None], u @ torch.diag_embed(sign) @ vt, about)
