"""`WorldModel`: a codec and a network with their configuration, loaded and saved as safetensors and JSON."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from geometry.errors import InputError
from geometry.io.files import write_file
from worldgen.core.conditioning import Conditioning
from worldgen.models.codec.files import codec_names, load_codec, save_codec
from worldgen.models.codec.pixel import Codec, PixelCodec
from worldgen.models.codec.vae import ConvVAE
from worldgen.models.network.dit import DiTConfig, MultiViewDiT, grow
from worldgen.models.students import load_student
from worldgen.models.text import HubEncoder, TextConfig, TextEncoder, WordEncoder
from worldgen.models.weights import EMBEDDED, read_weights, write_weights
from worldgen.runtime.config import build, plain, upgraded
from worldgen.runtime.precision import computes_half
from worldgen.sampling.defaults import SamplingDefaults
from worldgen.sampling.denoiser import Denoiser, FunctionDenoiser
from worldgen.sampling.process import Flow


@dataclass(frozen=True)
class ModelConfig:
    """What a model is. The last two fields record conventions, so that weights refuse another reading of them.

    size_px  the trained side of its square images
    frames   the most frames it was trained to see at once
    codec    between images and latent frames, unless `codec_weights` names another; between a memory and what the
             network sees of it in any case
    sampling  what it is sampled with unless one says otherwise
    codec_weights  a trained codec of images of the same block: an embedded name or a folder
                   (`worldgen.models.codec.files`)
    """

    name: str
    size_px: int = 64
    frames: int = 8
    codec: PixelCodec = field(default_factory=PixelCodec)
    codec_weights: str | None = None
    text: TextConfig = field(default_factory=TextConfig)
    network: DiTConfig = field(default_factory=DiTConfig)
    process: Flow = field(default_factory=Flow)
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)
    plucker_order: str = "direction,moment"
    depth_signal: str = "scale/depth-1"

    def __post_init__(self) -> None:
        if self.codec_weights is None:
            self.check(self.codec)
        elif self.codec.layout:
            raise InputError(f"layouts with codec_weights {self.codec_weights!r}; expected codec.layout false")
        if self.network.memory_channels not in (0, self.codec.memory_channels):
            raise InputError(
                f"network.memory_channels {self.network.memory_channels}; expected 0 or {self.codec.memory_channels}, "
                "what this codec makes of a memory"
            )
        if self.network.text_width != self.text.width:
            raise InputError(f"network.text_width {self.network.text_width} with text tokens of {self.text.width}")
        if self.size_px % self.codec.block:
            raise InputError(f"size_px {self.size_px}; expected a multiple of the codec's block {self.codec.block}")
        if (self.plucker_order, self.depth_signal) != ("direction,moment", "scale/depth-1"):
            raise InputError(
                f"weights that read Plücker rays as {self.plucker_order} and depth as {self.depth_signal}; "
                "this version knows direction,moment and scale/depth-1"
            )

    def check(self, codec: Codec) -> None:
        """Raises InputError for a codec whose latents are not what the network sees."""
        if codec.group > 1:
            raise InputError(
                f"a codec with {codec.group} frames in a latent frame; expected one of images (group 1), video codecs "
                "are not wired to the network yet"
            )
        if list(self.network.modalities.items()) != list(codec.modalities().items()):
            raise InputError(
                f"network modalities {self.network.modalities} with a codec of {codec.modalities()}; "
                "expected the same in the same order"
            )
        if codec.block != self.codec.block:
            raise InputError(f"codec.block {self.codec.block} with codec_weights of block {codec.block}; expected one")


class WorldModel:
    """A trained model: `load` it by name or folder, then give it to `worldgen.orbit`.

    precision  of the network's products in `denoiser`: "fp32", "bf16" (over float32 weights), or "auto", which is bf16
               where the device has such arithmetic. What is computed of cameras and levels, and the steps of the
               sampler, is float32. Training has a precision of its own (`TrainConfig`)
    """

    def __init__(
        self,
        config: ModelConfig,
        network: MultiViewDiT,
        words: WordEncoder | None = None,
        weights_sha256: str = "",
        codec: ConvVAE | None = None,
    ):
        self.config, self.network, self.words, self.weights_sha256 = config, network, words, weights_sha256
        assert (codec is not None) == (config.codec_weights is not None), f"{config.codec_weights} with codec {codec}"
        self.vae = codec
        config.check(codec or config.codec)
        assert (words is not None) == (config.text.kind == "words"), f"text {config.text.kind} with words {words}"
        self._hub: HubEncoder | None = None
        self.precision = "fp32"

    @staticmethod
    def create(config: ModelConfig, codec: ConvVAE | None = None) -> "WorldModel":
        """A model with fresh weights (torch's global generator), but for its codec's.

        codec  the trained one where `config.codec_weights` is given; None = the one that names

        Raises InputError when that can't be had, or does not fit the network.
        """
        words = WordEncoder(config.text.width, config.text.tokens) if config.text.kind == "words" else None
        network = MultiViewDiT(config.network)
        if codec is None and config.codec_weights is not None:
            codec = load_codec(config.codec_weights)
        return WorldModel(config, network, words, codec=codec)

    def grown(self, config: ModelConfig) -> "WorldModel":
        """The model with parts added (modalities, memory, text) as another configuration has them; it says what it said
        before. Raises InputError when more than that differs."""
        if config.codec_weights != self.config.codec_weights:
            raise InputError(
                f"codec_weights {config.codec_weights!r}; expected {self.config.codec_weights!r} as before"
            )
        fresh = WorldModel.create(config, self.vae)
        if self.words is not None and fresh.words is not None and self.config.text == config.text:
            fresh.words.load_state_dict(self.words.state_dict())
        network = grow(self.network, config.network).to(self.device)
        grown = WorldModel(config, network, fresh.words, codec=self.vae).to(self.device)
        grown.precision = self.precision
        return grown

    @property
    def codec(self) -> Codec:
        """Between images and latent frames: with weights, frozen and on the model's device."""
        return self.config.codec if self.vae is None else self.vae.to(self.device)

    @property
    def text(self) -> TextEncoder | None:
        """The text encoder; one of the hub is loaded at the first call. None = the model reads no text."""
        if self.config.text.kind in ("t5", "clip") and self._hub is None:
            self._hub = HubEncoder.load(self.config.text, self.device)
        return self.words or self._hub

    def state(self) -> dict[str, Tensor]:
        """All trained tensors by name; those of the word encoder begin with `words.`"""
        words = {} if self.words is None else self.words.state_dict(prefix="words.")
        return self.network.state_dict() | words

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over tensors as `state` names them. Raises RuntimeError when they do not fit."""
        words = {n.removeprefix("words."): v for n, v in state.items() if n.startswith("words.")}
        if self.words is not None:
            self.words.load_state_dict(words)
        self.network.load_state_dict({n: v for n, v in state.items() if not n.startswith("words.")})

    def parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        """All trained parameters by name."""
        words = () if self.words is None else self.words.named_parameters(prefix="words")
        return [*self.network.named_parameters(), *words]

    def training(self, mode: bool) -> "WorldModel":
        """With gradients and in training mode, or without and in evaluation mode (in place)."""
        for module in (self.network, self.words):
            if module is not None:
                module.requires_grad_(mode).train(mode)
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Latent channels of each modality, in order."""
        return tuple(self.config.network.modalities.values())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> "WorldModel":
        """The model on another device (in place, as torch modules go)."""
        self.network.to(device)
        if self.words is not None:
            self.words.to(device)
        return self

    @property
    def computes_in(self) -> str:
        """What `precision` comes to on the model's device: fp32 or bf16."""
        return "bf16" if computes_half(self.precision, self.device) else "fp32"

    def denoiser(self) -> Denoiser:
        """(x, level, conditioning) -> the clean estimate x0, with products of the model's precision."""
        denoise = self.config.process.precondition(self.network, self.config.network.modalities)
        if self.computes_in == "fp32":
            return denoise

        def in_half(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
            with torch.autocast(x.device.type, torch.bfloat16):
                return denoise(x, level, conditioning)

        return FunctionDenoiser.like(denoise, in_half)

    def save(self, folder: Path, int8: bool = False) -> None:
        """Write `config.json` and the weights (`worldgen.models.weights`); int8 keeps matrices as bytes with one scale
        a row.

        A trained codec that is not embedded is written to the folder `codec` beside them, where `load` finds it.
        """
        if self.vae is not None and self.config.codec_weights not in codec_names():
            save_codec(self.vae, folder / "codec")
        folder.mkdir(parents=True, exist_ok=True)
        write_weights(self.state(), folder, int8)
        write_file(folder / "config.json", (json.dumps(plain(self.config), indent=2) + "\n").encode())

    @staticmethod
    def load(name: str | Path, device: torch.device | str = "cpu", precision: str = "fp32") -> "WorldModel":
        """The embedded model of a name (`WorldModel.names()`), or the one in a folder; of a student, its base with the
        student's change (`worldgen.models.students`).

        Raises InputError when there is none, its files do not fit together, or precision is none of fp32, bf16, auto.
        """
        computes_half(precision, torch.device(device))  # refuses what is none before anything is read
        folder = EMBEDDED / name if (EMBEDDED / name).is_dir() else Path(name)
        try:
            facts = upgraded(json.loads((folder / "config.json").read_text("utf-8")))
            if isinstance(facts, dict) and "base" in facts:
                return _ready(load_student(folder, facts), device, precision)
            config = build(ModelConfig, facts, f"{folder}/config.json")
            state, digest = read_weights(folder)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"model {str(name)!r}: {type(error).__name__}; expected one of {', '.join(WorldModel.names())} or a "
                "folder with config.json and weights.safetensors"
            ) from error
        kept = config.codec_weights not in (None, *codec_names()) and (folder / "codec").exists()
        model = WorldModel.create(config, load_codec(folder / "codec") if kept else None)
        model.weights_sha256 = digest
        try:
            model.load_state(state)
        except RuntimeError as error:
            raise InputError(
                f"model {str(name)!r}: weights do not fit its config ({str(error).splitlines()[-1].strip()})"
            ) from error
        return _ready(model, device, precision)

    @staticmethod
    def names() -> list[str]:
        """The embedded models."""
        return sorted(path.parent.name for path in EMBEDDED.glob("*/config.json"))


def _ready(model: WorldModel, device: torch.device | str, precision: str) -> WorldModel:
    """The model in evaluation mode, on a device, with products of a precision (in place)."""
    model.precision = precision
    return model.training(False).to(device)


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises InputError for a device torch does not know or have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r}: {str(error).splitlines()[-1].strip()}") from error
