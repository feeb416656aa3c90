"""A network that the table does not come with is a model's like any other."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from geometry.errors import InputError
from tests.models.tiny import BLOCK, CHANNELS, posed, shown, tiny_model
from worldgen.core.conditioning import Conditioning
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.config import ModelConfig
from worldgen.models.network.backbones import BACKBONES, Backbone
from worldgen.models.network.context_parallel import Context
from worldgen.models.network.protocol import Network
from worldgen.models.world_model import WorldModel
from worldgen.runtime.config import load, plain


@dataclass(frozen=True)
class PixelwiseConfig:
    """One matrix for every latent pixel."""

    modalities: dict[str, int] = field(default_factory=lambda: dict(CHANNELS))
    width: int = sum(CHANNELS.values())
    memory_channels: int = 0
    text_width: int = 0


class Pixelwise(Network):
    """Every latent pixel by itself, whatever the cameras."""

    def __init__(self, config: PixelwiseConfig, checkpointing: bool = False, context: Context | None = None):
        super().__init__()
        self.config, self.matrix = config, nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """The matrix of each pixel's channels."""
        return self.matrix(x.movedim(2, -1)).movedim(-1, 2)


@pytest.fixture(autouse=True)
def pixelwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network in the table."""
    monkeypatch.setitem(BACKBONES, "pixelwise", Backbone(PixelwiseConfig, Pixelwise))


def test_a_file_s_tag_says_which_network_a_model_has_and_it_is_saved_and_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(
        f"{{name: other, size_px: 16, codec: {{block: {BLOCK}}}, backbone: pixelwise, network: {{memory_channels: 0}}}}"
    )
    config = load(ModelConfig, tmp_path / "model.yaml")
    assert config.network == PixelwiseConfig() and plain(config)["backbone"] == "pixelwise"
    model = WorldModel.create(config).training(False)
    model.save(tmp_path / "saved")
    loaded, (x, level), conditioning = WorldModel.load(tmp_path / "saved"), shown(2, 3), posed(2, 3)
    assert isinstance(loaded.network, Pixelwise)
    assert torch.equal(loaded.denoiser()(x, level, conditioning), model.denoiser()(x, level, conditioning))


def test_the_default_is_not_written_and_an_unknown_tag_is_refused(tmp_path: Path) -> None:
    assert "backbone" not in plain(tiny_model())
    (tmp_path / "model.yaml").write_text("{name: x, backbone: wavelets}")
    with pytest.raises(InputError, match="backbone 'wavelets'; expected one of dit, unet, pixelwise"):
        load(ModelConfig, tmp_path / "model.yaml")
    with pytest.raises(InputError, match="backbone 'dit' with a network of PixelwiseConfig; expected DiTConfig"):
        ModelConfig("x", 16, codec=PixelCodec(BLOCK), network=PixelwiseConfig())


def test_a_network_that_cannot_grow_says_so() -> None:
    config = ModelConfig("x", 16, codec=PixelCodec(BLOCK), network=PixelwiseConfig(), backbone="pixelwise")
    with pytest.raises(InputError, match="expected the same, one that can grow"):
        WorldModel.create(config).grown(config)
