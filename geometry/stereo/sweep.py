"""The plane sweep: depth and image of a camera from posed images of a still scene, without learning.

For every plane of constant depth in front of the camera, the images are looked up where its rays meet the plane; at the
right depth they agree (Collins 1996, "A space-sweep approach to true multi-image matching"). The costs are made smooth
(`geometry.stereo.smoothing`), and colors of the images are blended at the depth that costs least.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.coercion import FramesLike, ImageLike, as_image
from geometry.shapes import Bool, Float
from geometry.stereo.smoothing import semi_global
from geometry.stereo.warping import TargetRays, frames_of
from geometry.values import as_value

_VALUES_AT_ONCE = 2**22  # of looked-up images: some planes at a time
_WIDE_RAD = 0.6  # angle to the target at which an image hardly counts in comparisons


@dataclass(frozen=True)
class SweepSettings:
    """How a plane sweep compares and blends images. Differences are of sRGB values in 0..1.

    Attributes:
        radius_px: Differences are means over windows of this radius.
        clip: Largest difference that counts, so that a highlight is no worse than another surface.
        unseen: Difference where one of two images shows nothing.
        pairs: How many pairs of images are compared at most, those with the least angles to the target first; the
            best two of them count, so that one occluded image does no harm.
        step: Penalty of one plane up or down between neighboring pixels.
        jump: Penalty of more.
        angle: Standard deviation (radians) of the weight by which an image's color counts, in the angle between its ray
            and the target's.
        color: Standard deviation of the weight by which it counts, in the difference to the nearest image's color.
        softness: Costs of planes become probabilities by exp(-cost / softness).
    """

    radius_px: int = 3
    clip: float = 0.3
    unseen: float = 0.25
    pairs: int = 6
    step: float = 0.01
    jump: float = 0.06
    angle: float = 0.35
    color: float = 0.12
    softness: float = 0.05


@as_value
@dataclass(frozen=True)
class SweptView:
    """What a plane sweep finds for one camera.

    Attributes:
        rgb: Colors at the depth that costs least [3, h, w]; 0 where nothing is seen.
        expected_rgb: The mean of colors over all planes by their probability [3, h, w], which is blurred where the
            depth is uncertain.
        depth: z [1, h, w] in metres; inf = sky.
        seen: Where any image shows that surface [1, h, w].
    """

    rgb: Float[Tensor, "3 h w"]
    expected_rgb: Float[Tensor, "3 h w"]
    depth: Float[Tensor, "1 h w"]
    seen: Bool[Tensor, "1 h w"]


def inverse_depth_planes(nearest_m: float, furthest_m: float, count: int) -> Float[Tensor, "d"]:
    """Inverse depths evenly from the furthest to the nearest, as a stereo pair's disparity is spaced.

    Args:
        nearest_m: Depth of the last plane in metres, more than 0.
        furthest_m: Depth of the first; inf is the sky.
        count: Number of planes, at least 3.

    Returns:
        Increasing inverse depths [d], per metre.

    Raises:
        InputError: If these do not hold.
    """
    if not 0 < nearest_m < furthest_m or count < 3:
        raise InputError(
            f"{count} planes from {nearest_m} to {furthest_m} m; expected 3 or more, 0 < nearest < furthest"
        )
    return torch.linspace(1 / furthest_m, 1 / nearest_m, count)


def sweep_costs(
    images: FramesLike,
    sources: Cameras,
    target: Cameras,
    planes: Float[torch.Tensor, "d"],
    settings: SweepSettings = SweepSettings(),
    own: ImageLike | None = None,
) -> Float[torch.Tensor, "d h w"]:
    """How badly the images disagree at each plane of a camera, smoothed.

    Args:
        images: sRGB of the sources [k, 3, h2, w2] in 0..1.
        sources: Cameras [k]; two or more, or one with `own`.
        target: A camera of batch shape [] or [1], of any size.
        planes: Inverse depths [d] (`inverse_depth_planes`).
        settings: How they are compared.
        own: The target's own image [3, h, w], where there is one: then each source is compared with it.

    Returns:
        Costs [d, h, w], the lower the likelier.

    Raises:
        InputError: If shapes disagree, colors are not finite, or there is nothing to compare.
    """
    images, own = frames_of(images, sources), own if own is None else as_image(own, "own", double=True)
    rays = TargetRays.of(sources, target)
    if own is not None and tuple(own.shape[-2:]) != rays.hw:
        raise InputError(f"own image {tuple(own.shape)} of a camera of {rays.hw}; expected [3, h, w]")
    if len(images) + (own is not None) < 2:
        raise InputError("plane sweep of one image; expected two or more, or the target's own beside it")
    planes = planes.to(images)
    pairs, handicap = _pairs(rays, planes[len(planes) // 2], settings, own is not None)
    parts = []
    for some in planes.split(_planes_at_once(images, rays)):
        colors, inside = rays.looked_up(images, some[:, None])
        if own is not None:
            colors = torch.cat([colors, own.flatten(1).expand(len(colors), 1, -1, -1)], 1)
            inside = torch.cat([inside, torch.ones_like(inside[:, :1])], 1)
        different = _differences(colors, inside, pairs, settings, rays.hw) + handicap[:, None, None]
        parts.append(different.sort(1).values[:, :2].mean(1))
    return semi_global(torch.cat(parts), settings.step, settings.jump)


def _pairs(rays: TargetRays, inverse: Tensor, settings: SweepSettings, own: bool) -> tuple[Tensor, Tensor]:
    """Which images are compared [p, 2] (the target's own counts as one more), and what each pair costs beforehand [p].

    Images at wide angles to the target at an inverse depth are compared last, and cost a little more.
    """
    count = len(rays.sources)
    if own:
        each = torch.arange(count, device=inverse.device)
        return torch.stack([each, torch.full_like(each, count)], 1), inverse.new_zeros(count)
    angle = rays.angles(inverse.view(1, 1))[0].mean(1)
    pairs = torch.combinations(torch.arange(count, device=inverse.device))
    weight = (-angle[pairs].square().sum(1) / (2 * _WIDE_RAD**2)).exp()
    kept = weight.argsort(descending=True, stable=True)[: settings.pairs]
    return pairs[kept], 0.05 * (1 - weight[kept] / weight[kept].max())


def _differences(
    colors: Float[Tensor, "d k 3 n"], inside: Bool[Tensor, "d k n"], pairs: Tensor, settings: SweepSettings,
    hw: tuple[int, int],
) -> Float[Tensor, "d p h w"]:  # fmt: skip
    """Mean absolute differences over windows, of pairs of images."""
    first, second = pairs.unbind(1)
    different = (colors[:, first] - colors[:, second]).abs().mean(2).clamp_max(settings.clip)
    different = torch.where(inside[:, first] & inside[:, second], different, settings.unseen).unflatten(-1, hw)
    radius = settings.radius_px
    padded = torch.nn.functional.pad(different, (radius,) * 4, mode="replicate")
    across = torch.nn.functional.avg_pool2d(padded, (1, 2 * radius + 1), 1)
    return torch.nn.functional.avg_pool2d(across, (2 * radius + 1, 1), 1)


def inverse_depth_of(
    costs: Float[torch.Tensor, "d h w"], planes: Float[torch.Tensor, "d"]
) -> Float[torch.Tensor, "1 h w"]:
    """The inverse depth that costs least at each pixel, between planes by a parabola through three costs.

    Args:
        costs: Costs [d, h, w] (`sweep_costs`).
        planes: Inverse depths [d], evenly spaced.

    Returns:
        Inverse depths [1, h, w], per metre, within the planes.
    """
    best = costs.argmin(0, keepdim=True)
    inner = best.clamp(1, len(planes) - 2)
    before, at, after = (costs.gather(0, inner + offset) for offset in (-1, 0, 1))
    bend = (before - 2 * at + after).clamp_min(1e-6)
    between = torch.where(best == inner, ((before - after) / (2 * bend)).clamp(-0.5, 0.5), 0.0)
    spacing = planes[1] - planes[0]
    return (planes[0] + (best + between) * spacing).clamp(float(planes[0]), float(planes[-1]))


def sweep_view(
    images: FramesLike,
    sources: Cameras,
    target: Cameras,
    planes: Float[torch.Tensor, "d"],
    settings: SweepSettings = SweepSettings(),
) -> SweptView:
    """A new view of a still scene and its depth, from posed images alone.

    Args:
        images: sRGB of the sources [k, 3, h2, w2] in 0..1, two or more.
        sources: Cameras [k].
        target: A camera of batch shape [] or [1], of any size.
        planes: Inverse depths [d] (`inverse_depth_planes`).
        settings: How images are compared and blended.

    Returns:
        The view.

    Raises:
        InputError: As `sweep_costs`.
    """
    images = frames_of(images, sources)
    costs = sweep_costs(images, sources, target, planes, settings)
    planes, rays = planes.to(images), TargetRays.of(sources, target)
    inverse = inverse_depth_of(costs, planes)
    rgb, seen = _blended(images, rays, inverse.flatten(1), settings)
    probability = torch.softmax(-costs.flatten(1) / settings.softness, 0)
    total, weight = torch.zeros_like(rgb[0]), torch.zeros_like(probability[0])
    at_once = _planes_at_once(images, rays)
    for some, share in zip(planes.split(at_once), probability.split(at_once)):
        colors, shown = _blended(images, rays, some[:, None], settings)
        share = share * shown
        total, weight = total + (share[:, None] * colors).sum(0), weight + share.sum(0)
    expected = total / weight.clamp_min(1e-6)
    hw = rays.hw
    depth = torch.where(inverse > 0, 1 / inverse, torch.inf)
    return SweptView(rgb[0].unflatten(-1, hw), expected.unflatten(-1, hw), depth, seen.unflatten(-1, hw))


def _blended(
    images: Tensor, rays: TargetRays, inverse: Float[Tensor, "d #n"], settings: SweepSettings
) -> tuple[Float[Tensor, "d 3 n"], Bool[Tensor, "d n"]]:
    """One color of several images' at each point, and where there is any.

    Those at small angles count most (as unstructured lumigraphs blend, Buehler et al. 2001), those unlike the one at
    the least angle hardly at all.
    """
    colors, inside = rays.looked_up(images, inverse)
    angle = torch.where(inside, rays.angles(inverse), torch.inf)
    nearest = angle.argmin(1, keepdim=True)
    reference = colors.gather(1, nearest[:, :, None].expand(-1, -1, 3, -1))
    apart = (colors - reference).square().mean(2)
    weight = (-(angle / settings.angle).square() / 2).exp().clamp_min(1e-4)
    weight = weight * (-apart / (2 * settings.color**2)).exp() * inside
    return (weight[:, :, None] * colors).sum(1) / weight.sum(1).clamp_min(1e-9)[:, None], inside.any(1)


def _planes_at_once(images: Tensor, rays: TargetRays) -> int:
    return max(1, _VALUES_AT_ONCE // (len(images) * 3 * rays.turned.shape[1]))
