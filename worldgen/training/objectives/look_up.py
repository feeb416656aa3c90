"""The loss of a network that looks things up: its colors and depth, and what it decided by on the way."""

from torch import Tensor
from torch.nn import functional as F

from geometry.shapes import Float
from worldgen.models.network.unet.network import Details, MultiViewUNet
from worldgen.training.config.train import TrainConfig
from worldgen.training.objectives.term import Progress, Term, TrainingStep

_SQUARED, _BLENDED, _SURFACE, _PLANES = 4.0, 0.25, 0.5, 0.05  # weights beside the absolute error of colors


class LookUp(Term):
    """Absolute and squared errors of colors, absolute ones of inverse depth, and the cross entropy of the planes.

    A pixel of the cost volume stands for 16 of the image; its true distribution is that of their depths, each shared
    by the two planes around it.
    """

    def __init__(self, config: TrainConfig):
        super().__init__()
        self.depth_weight = config.depth_weight

    def tap(self, progress: Progress) -> int | None:
        """Always, for the details."""
        return 0

    def forward(self, step: TrainingStep) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighed sum, and its parts."""
        inputs, details, network = step.inputs, step.prediction.tapped, step.model.network
        assert isinstance(network, MultiViewUNet) and isinstance(details, Details), f"{type(network).__name__}"
        estimate = step.prediction.x0.float()
        new = (inputs.level > 0).to(estimate)[..., None, None, None]
        color, truth = estimate[:, :, :3], inputs.x0[:, :, :3]
        error = color - truth
        colors = _SQUARED / 4 * error.square() + error.abs() / 2  # of signals, twice as large as colors
        colors = colors + _BLENDED * (details.blend.blended - truth).abs()
        known = inputs.known[:, :, 3:]
        inverse = inputs.x0[:, :, 3:] + 1
        off = (estimate[:, :, 3:] + 1 - inverse).abs() * new[:, :, 1]
        off = off + _SURFACE * (details.inverse - inverse).abs()
        planes, counted = cross_entropy(details.logits, inverse, known, network.planes)
        parts = {
            "rgb": _mean(colors, new[:, :, 0].expand_as(known)),
            "depth": _mean(off, known),
            "planes": _mean(planes, counted),
        }
        total = parts["rgb"] + self.depth_weight * (parts["depth"] + _PLANES * parts["planes"])
        seen = error.detach().square().mean(2, keepdim=True)
        parts["squared"] = _mean(seen / 4, new[:, :, 0].expand_as(known))
        return total, parts


def cross_entropy(
    logits: Float[Tensor, "b f d y x"], inverse: Float[Tensor, "b f 1 h w"], known: Tensor, planes: Float[Tensor, "d"]
) -> tuple[Float[Tensor, "b f 1 y x"], Float[Tensor, "b f 1 y x"]]:
    """Of the planes of every coarse pixel against the depths of its pixels, and the share of these that are known."""
    b, f, d, y, _ = logits.shape
    size = inverse.shape[-2] // y
    place = (inverse / (planes[1] - planes[0])).clamp(0, d - 1 - 1e-3)
    lower = place.long()
    above = place - lower
    logs = logits.log_softmax(2)
    logs = logs.repeat_interleave(size, -1).repeat_interleave(size, -2)
    entropy = -(logs.gather(2, lower) * (1 - above) + logs.gather(2, lower + 1) * above)
    pooled = (F.avg_pool2d(part.flatten(0, 1), size).unflatten(0, (b, f)) for part in (entropy * known, known))
    total, share = pooled
    return total / share.clamp_min(1e-6), share


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """The mean over what is counted; each clip counts the same."""
    counted = counted.expand_as(values)
    return ((values * counted).flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1)).mean()
