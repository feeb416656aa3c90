"""Energies of clean estimates: how far what is being sampled is from what is wanted. `guide_by_energy` goes down them.

An energy takes latent frames x0 [b, f, c, y, x] and gives one number a clip. Colors differ by R in -1..1, as
`PixelCodec` keeps them, and an energy is a sum of squares of R over pixels and channels, scaled such that through that
codec one step of 1 down its gradient about closes each pixel's difference while the others stay where they are; a sum
of energies is an energy. Through trained codecs gradients pass by their decoders, and steps are of another size.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.flow import warp_by_flow
from geometry.image.multiview import COLOR_TOLERANCE, agreement
from geometry.image.warping import forward_warp
from geometry.shapes import Bool, Float, Int

Energy = Callable[[Float[Tensor, "b f c y x"]], Float[Tensor, "b"]]


@runtime_checkable
class Decoder(Protocol):
    """What energies need of a codec (`worldgen.models.codec.Codec`)."""

    def decode(self, latent: Float[Tensor, "*b g c y x"]) -> dict[str, Tensor]:
        """The signals of every modality; colors are not clamped."""
        ...


def flow_energy(codec: Decoder, flow: Float[Tensor, "b f 2 h w"], valid: Bool[Tensor, "b f 1 h w"]) -> Energy:
    """Motion guidance: each pixel should look as the next frame does where its flow leads, sum of R^2 / 4.

    flow   pixels to the same surface point in the next frame; the last frame's is not looked at
    valid  where that is wanted: where the next frame shows the point (`forward_backward_visible`, or a scene's truth)

    Pixels whose flow leads out of the image ask for nothing. A step of 1 brings two pixels together half-way. Raises
    InputError for fewer than two frames, and when shapes disagree, here or as the energy is asked.
    """
    if flow.shape[1] < 2 or valid.shape != (*flow.shape[:2], 1, *flow.shape[3:]):
        raise InputError(
            f"flow energy: flow {tuple(flow.shape)}, valid {tuple(valid.shape)}; expected [b, f, 2, h, w] and "
            "[b, f, 1, h, w], of at least 2 frames"
        )

    def energy(x0: Tensor) -> Tensor:
        rgb = codec.decode(x0)["rgb"]
        _check("flow energy", rgb, flow)
        ahead, inside = warp_by_flow(rgb[:, 1:], flow[:, :-1])
        return ((ahead - rgb[:, :-1]).square() * (inside & valid[:, :-1])).sum((1, 2, 3, 4))

    return energy


def reprojection_energy(codec: Decoder, cameras: Cameras) -> Energy:
    """Frames of a still world should explain each other by the depth being sampled: what is missing to a
    `geometry.image.multiview` of 1, as much as sums of R^2 / 4 over pixels, meaned over the other frames, where R is
    small.

    cameras  [b, f] in the network's normalization (`worldgen.core.normalization`), as in a `Conditioning`

    Differences of more than about 0.2 in R pull less the larger they are. Depth is not bent to agree with itself and
    learns from colors alone: with a gradient there, steps that suit colors throw it about. Raises InputError for
    fewer than two frames, and when shapes disagree, as the energy is asked.
    """
    if len(cameras.shape) != 2 or cameras.shape[1] < 2:
        raise InputError(f"reprojection energy: cameras {tuple(cameras.shape)}; expected [b, f] of at least 2 frames")

    def energy(x0: Tensor) -> Tensor:
        images = codec.decode(x0)
        rgb = images["rgb"]
        _check_cameras("reprojection energy", rgb, cameras)
        # A score of agreement falls by mean (r / COLOR_TOLERANCE)^2 over 3 channels, r = R / 2 in 0..1.
        pixels = rgb.shape[1] * rgb.shape[3] * rgb.shape[4]
        # The signal is scale / depth - 1.
        agreed = agreement(rgb, images["depth"] + 1, cameras, hold_depths=True)
        return 3 * COLOR_TOLERANCE**2 * pixels * (1 - agreed)

    return energy


def camera_energy(
    codec: Decoder,
    rgb: Float[Tensor, "b k 3 h w"],
    depth: Float[Tensor, "b k 1 h w"],
    given: Cameras,
    cameras: Cameras,
) -> Energy:
    """The cameras should be followed: where images with depth, moved into the cameras of the frames, show something,
    the frames should show the same, sum of R^2 / 2.

    rgb      in 0..1, of `given` [b, k]
    depth    in the units of the cameras, such as metres; 0 = unknown, asks for nothing; inf = sky
    cameras  [b, f] of the frames, in the world of `given`

    A step of 1 closes the difference. Raises InputError when shapes disagree, here or as the energy is asked.
    """
    _check_cameras("camera energy", rgb, given)
    if depth.shape != (*rgb.shape[:2], 1, *rgb.shape[3:]) or cameras.shape[:-1] != given.shape[:-1]:
        raise InputError(
            f"camera energy: rgb {tuple(rgb.shape)}, depth {tuple(depth.shape)}, cameras {tuple(cameras.shape)}; "
            "expected [b, k, 3, h, w], [b, k, 1, h, w] and [b, f]"
        )
    frames = [(b, f) for b in range(len(rgb)) for f in range(cameras.shape[1])]
    seen = [forward_warp(rgb[b], depth[b], given[b], cameras[b, f]) for b, f in frames]
    wanted, visible = (rearrange([s[i] for s in seen], "(b f) c h w -> b f c h w", b=len(rgb)) for i in (0, 2))

    def energy(x0: Tensor) -> Tensor:
        made = codec.decode(x0)["rgb"]
        _check_cameras("camera energy", made, cameras)
        return 2 * ((made - wanted).square() * visible).sum((1, 2, 3, 4))

    return energy


def mask_energy(codec: Decoder, classify: Callable[[Tensor], Tensor], masks: Int[Tensor, "b f 1 h w"]) -> Energy:
    """Each pixel should be of a class: cross-entropy in nats, summed over pixels.

    classify  differentiable, images [b, f, 3, h, w] in 0..1 to logits [b, f, k, h, w]
    masks     the classes wanted, 0 to k - 1; negative where any will do

    A classifier's slopes are its own: what a step of 1 does is up to them. Raises InputError when shapes disagree, and
    for a class that `classify` does not know, as the energy is asked.
    """

    def energy(x0: Tensor) -> Tensor:
        logits = classify(codec.decode(x0)["rgb"])
        _check("mask energy", logits, masks)
        if int(masks.max()) >= logits.shape[2]:
            raise InputError(f"mask energy: class {int(masks.max())} of {logits.shape[2]}; expected less")
        wanted = masks[:, :, 0].clamp_min(-1)
        lost = F.cross_entropy(logits.movedim(2, 1), wanted.long(), ignore_index=-1, reduction="none")
        return lost.sum((1, 2, 3))

    return energy


def _check(what: str, images: Tensor, maps: Tensor) -> None:
    """Raises InputError unless both are [b, f, any, h, w] of the same b, f, h, w."""
    if (*images.shape[:2], *images.shape[3:]) != (*maps.shape[:2], *maps.shape[3:]):
        raise InputError(
            f"{what}: frames {tuple(images.shape)} for maps {tuple(maps.shape)}; expected the same clips, frames "
            "and size"
        )


def _check_cameras(what: str, images: Tensor, cameras: Cameras) -> None:
    """Raises InputError unless there is a camera of its size for each of the images [b, f, c, h, w]."""
    if tuple(images.shape[:2]) != tuple(cameras.shape) or tuple(images.shape[3:]) != cameras.hw:
        raise InputError(
            f"{what}: images {tuple(images.shape)} for cameras {tuple(cameras.shape)} of size {cameras.hw}; "
            "expected one each"
        )
