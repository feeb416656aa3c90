"""`Cameras`: a frozen, batched set of posed cameras, pinholes unless they have a lens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from geometry.camera.lenses import Lens, LensKind
from geometry.errors import InputError
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float, Int
from geometry.similarity import Similarity
from geometry.values import as_value, number_range


@as_value
@dataclass(frozen=True)
class Cameras:
    """Posed cameras of one image size, with any batch shape b (conventions: `geometry.conventions`).

    Attributes:
        world_from_camera: Rigid motions [*b, 4, 4], OpenCV axes, metres.
        K: Intrinsics [*b, 3, 3] in pixels, pixel centers at +0.5.
        hw: Height and width of the images in pixels.
        view: Which physical camera each is [*b] (default 0).
        time_s: When each image is taken [*b], seconds (default 0).
        lens: Lenses of batch shape b, between directions and the plane that K takes to pixels
            (`geometry.camera.lenses`); None if all are pinholes.
    """

    world_from_camera: Float[torch.Tensor, "*b 4 4"]
    K: Float[torch.Tensor, "*b 3 3"]
    hw: tuple[int, int]
    view: Int[torch.Tensor, "*b"] = None  # type: ignore[assignment]  # filled in below
    time_s: Float[torch.Tensor, "*b"] = None  # type: ignore[assignment]
    lens: Lens | None = None

    def __post_init__(self) -> None:
        pose, K = self.world_from_camera, self.K
        if pose.shape[-2:] != (4, 4) or K.shape[-2:] != (3, 3) or pose.shape[:-2] != K.shape[:-2]:
            raise InputError(
                f"cameras: poses of shape {tuple(pose.shape)} with intrinsics of shape {tuple(K.shape)}; "
                "expected [*b, 4, 4] and [*b, 3, 3] with the same b"
            )
        if min(self.hw) < 1:
            raise InputError(f"cameras: image size {self.hw} (height, width); expected at least 1x1 pixel")
        if self.lens is not None and self.lens.shape != self.shape:
            raise InputError(
                f"cameras: lenses of shape {tuple(self.lens.shape)} for cameras of shape {tuple(self.shape)}; "
                "expected one each"
            )
        if self.view is None:
            object.__setattr__(self, "view", torch.zeros(self.shape, dtype=torch.long, device=pose.device))
        if self.time_s is None:
            object.__setattr__(self, "time_s", torch.zeros(self.shape, dtype=pose.dtype, device=pose.device))

    @staticmethod
    def from_fov(
        world_from_camera: Float[torch.Tensor, "*b 4 4"],
        fov_deg: float | Float[torch.Tensor, "*b"],
        hw: tuple[int, int],
        lens: Lens | None = None,
    ) -> "Cameras":
        """Cameras with square pixels and a centered principal point.

        Args:
            world_from_camera: Rigid motions [*b, 4, 4], metres.
            fov_deg: The field of view along the shorter side in degrees, one for all or one each [*b]. (A panorama of
                h x 2h has 180.)
            hw: Height and width of the images in pixels.
            lens: Lenses of batch shape b; None for pinholes.

        Raises:
            InputError: If the field of view is not between 0 and 180 or, with a lens, more than the lens shows.
        """
        fov = torch.as_tensor(fov_deg, dtype=world_from_camera.dtype, device=world_from_camera.device)
        half = torch.deg2rad(fov) / 2
        if lens is None:
            side, seen = torch.tan(half), (fov > 0) & (fov < 180)
        else:
            half = half.expand(lens.shape)
            plane, depth = lens.project(torch.stack([half.sin(), torch.zeros_like(half), half.cos()], -1)[..., None, :])
            side, seen = plane[..., 0, 0], (depth[..., 0] > 0) & (fov > 0) & (fov <= 360)
        if not bool(seen.all()):
            shown = "less than 180" if lens is None else "less than the lens shows"
            raise InputError(f"field of view {fov_deg} degrees; expected more than 0 and {shown}")
        height, width = hw
        K = torch.zeros(*world_from_camera.shape[:-2], 3, 3, dtype=fov.dtype, device=fov.device)
        K[..., 0, 0] = K[..., 1, 1] = min(hw) / 2 / side
        K[..., 0, 2], K[..., 1, 2], K[..., 2, 2] = width / 2, height / 2, 1
        return Cameras(world_from_camera, K, hw, lens=lens)

    @property
    def shape(self) -> torch.Size:
        """The batch shape b."""
        return self.world_from_camera.shape[:-2]

    @property
    def camera_from_world(self) -> Float[torch.Tensor, "*b 4 4"]:
        """Takes world points to camera points [*b, 4, 4]: what OpenCV calls extrinsics."""
        return invert_rigid(self.world_from_camera)

    @property
    def centers(self) -> Float[torch.Tensor, "*b 3"]:
        """Camera centers in the world [*b, 3], metres."""
        return self.world_from_camera[..., :3, 3]

    @property
    def forward(self) -> Float[torch.Tensor, "*b 3"]:
        """Optical axes in the world [*b, 3], of unit length."""
        return self.world_from_camera[..., :3, 2]

    def __len__(self) -> int:
        """The length of the first batch axis."""
        if not self.shape:
            raise TypeError("a single camera (batch shape []) has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Cameras"]:
        """The cameras along the first batch axis."""
        return (self[i] for i in range(len(self)))

    def _facts(self) -> str:
        """What its repr tells."""
        height, width = self.hw
        parts = [f"{list(self.shape)} of {height}x{width} px (height x width)"]
        if self.lens is None and self.shape.numel():
            half = min(self.hw) / 2 / self.K.detach().double()[..., [0, 1], [0, 1]].amin(-1)
            low, high = (f"{float(fov):.4g}" for fov in half.atan().rad2deg().mul(2).aminmax())
            parts.append(f"field of view {low if low == high else f'{low}..{high}'} degrees")
        if self.lens is not None:
            kinds = sorted({LensKind(kind).name for kind in self.lens.kind.unique().tolist()})
            parts.append(f"lenses {', '.join(kinds)}")
        if self.shape.numel() and bool((self.time_s != 0).any()):
            parts.append(f"at {number_range(self.time_s.detach())} s")
        return ", ".join([*parts, f"{self.K.dtype} on {self.K.device}".removeprefix("torch.").removesuffix(" on cpu")])

    def __getitem__(self, index: Any) -> "Cameras":
        """Index the batch axes, as a tensor of shape b would be indexed."""
        order = torch.arange(self.shape.numel(), device=self.K.device).reshape(self.shape)[index]
        return replace(
            self,
            world_from_camera=self.world_from_camera.reshape(-1, 4, 4)[order],
            K=self.K.reshape(-1, 3, 3)[order],
            view=self.view.reshape(-1)[order],
            time_s=self.time_s.reshape(-1)[order],
            lens=self.lens if self.lens is None else self.lens[index],
        )

    def reshape(self, *shape: int) -> "Cameras":
        """The same cameras with another batch shape."""
        return replace(
            self,
            world_from_camera=self.world_from_camera.reshape(*shape, 4, 4),
            K=self.K.reshape(*shape, 3, 3),
            view=self.view.reshape(shape),
            time_s=self.time_s.reshape(shape),
            lens=self.lens if self.lens is None else self.lens.reshape(*shape),
        )

    def to(self, target: torch.device | torch.dtype | str) -> "Cameras":
        """The same cameras on another device, or in another float type."""
        view_target = self.view.device if isinstance(target, torch.dtype) else target
        return replace(
            self,
            world_from_camera=self.world_from_camera.to(target),
            K=self.K.to(target),
            view=self.view.to(view_target),
            time_s=self.time_s.to(target),
            lens=self.lens if self.lens is None else self.lens.to(target),
        )

    def resized(self, hw: tuple[int, int]) -> "Cameras":
        """The cameras of the same images resampled to another size: K scales along each axis, exactly."""
        K = self.K.clone()
        K[..., 0, :] *= hw[1] / self.hw[1]
        K[..., 1, :] *= hw[0] / self.hw[0]
        return replace(self, K=K, hw=hw)

    def cropped(self, top: int, left: int, hw: tuple[int, int]) -> "Cameras":
        """The cameras of the window of size `hw` whose corner is at (top, left); negative or larger pads."""
        K = self.K.clone()
        K[..., 0, 2] -= left
        K[..., 1, 2] -= top
        return replace(self, K=K, hw=hw)

    def moved(self, new_from_world: Float[torch.Tensor, "*#b 4 4"]) -> "Cameras":
        """The same cameras in another world frame, by a rigid motion."""
        return replace(self, world_from_camera=new_from_world @ self.world_from_camera)

    def scaled(self, factor: float | Float[torch.Tensor, "*#b"]) -> "Cameras":
        """The same cameras in a world enlarged by `factor` about its origin."""
        factor = torch.as_tensor(factor, dtype=self.K.dtype, device=self.K.device)
        pose = self.world_from_camera.clone()
        pose[..., :3, 3] *= factor[..., None]
        return replace(self, world_from_camera=pose)

    def transformed(self, new_from_old: Similarity) -> "Cameras":
        """Cameras of batch shape [*b, f] that see in the new world what these see in the old one; depth scales."""
        pose = self.world_from_camera.clone()
        pose[..., :3, 3] = new_from_old.points(self.centers)
        pose[..., :3, :3] = new_from_old.rotation.to(self.K)[..., None, :, :] @ self.world_from_camera[..., :3, :3]
        return replace(self, world_from_camera=pose)

    def with_float64_positions(self) -> "Cameras":
        """The same cameras in float64."""
        return self.to(torch.float64)

    @staticmethod
    def cat(parts: Sequence["Cameras"]) -> "Cameras":
        """The cameras of all parts, joined along the last batch axis. Raises InputError if image sizes differ."""
        sizes = {part.hw for part in parts}
        if len(sizes) != 1:
            raise InputError(f"cameras of sizes {sorted(sizes)} joined; expected one size")
        lenses = [part.lens or _pinholes(part) for part in parts]
        bent = any(part.lens is not None for part in parts)
        return Cameras(
            torch.cat([part.world_from_camera for part in parts], -3),
            torch.cat([part.K for part in parts], -3),
            parts[0].hw,
            torch.cat([part.view for part in parts], -1),
            torch.cat([part.time_s for part in parts], -1),
            Lens.cat(lenses) if bent else None,
        )

    def pinholes(self) -> "Cameras":
        """Pinhole cameras of the same poses and K, as the lenses are near their axes."""
        return replace(self, lens=None)

    def check_pinhole(self, what: str) -> None:
        """Raises InputError, naming what needs it, unless all cameras are pinholes."""
        if self.lens is not None and bool((self.lens.kind != LensKind.PINHOLE).any()):
            kinds = [LensKind(kind).name for kind in self.lens.kind.unique().tolist()]
            raise InputError(f"{what}: lenses {', '.join(kinds)}; expected pinhole cameras (`geometry.undistort`)")


def _pinholes(cameras: Cameras) -> Lens:
    return Lens.of(LensKind.PINHOLE, cameras.K.new_zeros(*cameras.shape, 0))
