"""A causal network that keeps the keys and values of finished frames."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.dit import Cache, MultiViewDiT
from worldgen.sampling.process import Process, per_channel


@as_value
@dataclass(frozen=True)
class CausalDenoiser:
    """A `CachingDenoiser`: `sample` calls it with unfinished frames alone, what is clean is cached in `past`.

    For frames in causal order (`Conditioning.causal`); equal to the network called with all of them.
    """

    network: MultiViewDiT
    process: Process
    modalities: Mapping[str, int]
    past: Cache | None = None

    def __call__(
        self, x: Float[Tensor, "b f c h w"], level: Float[Tensor, "b f m"], conditioning: Conditioning
    ) -> Float[Tensor, "b f c h w"]:
        """The clean estimate of frames that attend to each other and to those in the cache."""

        def network(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
            return self.network(x, level, conditioning, self.past)

        return self.process.precondition(network, self.modalities)(x, level, conditioning)

    def append_to_cache(self, x: Float[Tensor, "b f c h w"], conditioning: Conditioning) -> "CausalDenoiser":
        """The same, with these clean frames in the cache as well."""
        channels = tuple(self.modalities.values())
        spread = self.process.spread(per_channel(x.new_zeros(*x.shape[:2], len(channels)), channels))
        return replace(self, past=self.network.append_to_cache(x / spread, conditioning, self.past))
