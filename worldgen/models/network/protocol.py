"""What a network is: latent frames, levels and conditioning to an estimate of the frames.

A network knows nothing of files, configurations of runs, or noise: what its estimate means is the process's business
(`worldgen.sampling.process`). To add one, write a `Network` with its config and put it in
`worldgen.models.network.backbones.BACKBONES`.
"""

from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from geometry.shapes import Float
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.context_parallel import Context


@runtime_checkable
class NetworkConfig(Protocol):
    """What every network's config, a frozen dataclass, has."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def modalities(self) -> dict[str, int]:
        """Channels of each modality of a latent frame, in the order they are stacked."""
        ...

    @property
    def width(self) -> int:
        """Channels of its matrices, by which the time of a run is planned (`worldgen.training.planning`)."""
        ...

    @property
    def memory_channels(self) -> int:
        """Latent channels of what the 3D memory shows; 0 = the network has no such input."""
        ...

    @property
    def text_width(self) -> int:
        """Width of the text tokens; 0 = the network has no such input."""
        ...


class Network(nn.Module):
    """(x [b f c h w], level [b f m], conditioning) -> an estimate [b f c h w]. A subclass has `config` and `forward`.

    Everything is decided at construction: a network is never changed afterwards but in its weights.
    """

    config: Any  # a NetworkConfig; each subclass declares its own type
    blocks: nn.ModuleList  # its parts, in order, which training compiles and shards one by one
    context: Context | None = None  # this process's place among those that share every clip's frames

    def forward(self, x: Float[Tensor, "b f c h w"], level: Float[Tensor, "b f m"], conditioning: Conditioning) -> Any:
        """The estimate. A network may take more arguments, which have defaults."""
        raise NotImplementedError
