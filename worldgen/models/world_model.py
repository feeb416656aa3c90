"""`WorldModel`: a codec and a network with their configuration, loaded and saved as safetensors and JSON."""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.io.files import write_file
from geometry.shapes import Float, Int
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning, Encoded, MemoryRender
from worldgen.core.modalities import MODALITIES, maps_of, signals_of, stacked_signals
from worldgen.core.normalization import Normalization, scene_scale
from worldgen.models.codec.files import codec_names, load_codec, save_codec
from worldgen.models.codec.protocol import Codec
from worldgen.models.codec.vae import ConvVAE
from worldgen.models.config import ModelConfig
from worldgen.models.network.backbones import BACKBONES
from worldgen.models.network.context_parallel import Context
from worldgen.models.network.protocol import Network
from worldgen.models.students import StudentConfig, load_changed
from worldgen.models.text import HubEncoder, TextEncoder, WordEncoder
from worldgen.models.weights import read_weights, write_weights
from worldgen.runtime.config import build, plain, upgraded
from worldgen.runtime.devices import pick_device
from worldgen.runtime.precision import computes_half
from worldgen.sampling.denoiser import Denoiser, HalfDenoiser
from worldgen.weights import EMBEDDED


@dataclass(frozen=True, eq=False)
class WorldModel:
    """A trained model: `load` it by name or folder, then give it to `worldgen.orbit`.

    Built once: after that only its weights change (training) or move (`to`). `dataclasses.replace` makes another model
    of the same parts.

    Attributes:
        config: What it is.
        network: Predicts latent frames.
        words: The text encoder that is trained with it, where `config.text` has one.
        vae: The trained codec that `config.codec_weights` names, frozen; None = `config.codec`.
        weights_sha256: Of the files it was loaded from; empty = from none.
        coarse: The first stage where `config.coarse` names one, frozen.
        precision: Of the network's products in `denoiser`: "fp32", "bf16" (over float32 weights), or "auto", which is
            bf16 where the device has such arithmetic. What is computed of cameras and levels, and the steps of the
            sampler, is float32. Training has a precision of its own (`TrainConfig`).
    """

    config: ModelConfig
    network: Network
    words: WordEncoder | None = None
    vae: ConvVAE | None = None
    weights_sha256: str = ""
    precision: str = "fp32"
    coarse: "WorldModel | None" = None

    def __repr__(self) -> str:
        """The model in one line. (Models are equal where they are the same object.)"""
        size, config = sum(part.numel() for _, part in self.parameters()), self.config
        parts = f"{size / 1e6:.3g} M parameters, up to {config.frames} frames of {config.size_px} px"
        return f"WorldModel({config.name!r}, {parts}, {' + '.join(self.modalities)}, {self.device}, {self.precision})"

    def __post_init__(self) -> None:
        config = self.config
        assert (self.vae is not None) == (config.codec_weights is not None), f"{config.codec_weights} with {self.vae}"
        assert (self.coarse is not None) == (config.coarse is not None), f"{config.coarse} with {self.coarse}"
        assert (self.words is not None) == (config.text.kind == "words"), f"text {config.text.kind} with {self.words}"
        config.check(self.codec)
        if self.coarse is not None:
            config.check_first_stage(self.coarse.config)

    @staticmethod
    def create(
        config: ModelConfig,
        codec: ConvVAE | None = None,
        *,
        coarse: "WorldModel | None" = None,
        checkpointing: bool = False,
        context: Context | None = None,
    ) -> "WorldModel":
        """A model with fresh weights (torch's global generator), but for its codec's.

        Args:
            config: What it is.
            codec: The trained one where `config.codec_weights` is given, not copied; None = the one that names.
            coarse: The first stage where `config.coarse` is given, not copied; None = the one that names.
            checkpointing: Recompute the network's activations in the backward pass: saves memory, costs time.
            context: This process's place among those that share a clip's frames; None = it has all of them.

        Returns:
            A new model on the CPU, or on torch's default device.

        Raises:
            InputError: When the codec cannot be had, or does not fit the network.
        """
        words = WordEncoder(config.text.width, config.text.tokens) if config.text.kind == "words" else None
        network = BACKBONES[config.backbone].build(config.network, checkpointing, context)
        codec = load_codec(config.codec_weights) if codec is None and config.codec_weights is not None else codec
        coarse = WorldModel.load(config.coarse, "cpu") if coarse is None and config.coarse is not None else coarse
        return WorldModel(config, network, words, codec, coarse=coarse)

    def grown(
        self, config: ModelConfig, *, checkpointing: bool = False, context: Context | None = None
    ) -> "WorldModel":
        """The model with parts added, whose outputs are what they were before.

        Args:
            config: As this model's, with modalities, memory or text added.
            checkpointing: As in `create`.
            context: As in `create`.

        Returns:
            A new model on this one's device.

        Raises:
            InputError: When more than that differs, or the network cannot grow.
        """
        parts, before = ((c.codec_weights, c.coarse) for c in (config, self.config))
        if parts != before:
            raise InputError(f"codec_weights and coarse {parts}; expected {before} as before")
        grow = BACKBONES[config.backbone].grow
        if config.backbone != self.config.backbone or grow is None:
            raise InputError(
                f"a model of backbone {self.config.backbone!r} grown to {config.backbone!r}; expected the same, one "
                "that can grow"
            )
        words = WordEncoder(config.text.width, config.text.tokens) if config.text.kind == "words" else None
        if self.words is not None and words is not None and self.config.text == config.text:
            words.load_state_dict(self.words.state_dict())
        network = grow(self.network, config.network, checkpointing, context)
        return WorldModel(config, network, words, deepcopy(self.vae), "", self.precision, self.coarse).to(self.device)

    @property
    def codec(self) -> Codec:
        """Between images and latent frames: with weights, frozen and on the model's device."""
        return self.config.codec if self.vae is None else self.vae

    @property
    def text(self) -> TextEncoder | None:
        """The text encoder; one of the hub is loaded when it is first needed. None = the model takes no text."""
        return self.words if self.config.text.kind not in ("t5", "clip") else self._hub

    @cached_property
    def _hub(self) -> HubEncoder:
        return HubEncoder.load(self.config.text, self.device)

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
    def modalities(self) -> dict[str, int]:
        """Latent channels of each modality by name, in the order of the denoiser's columns."""
        return self.config.network.modalities

    @property
    def channels(self) -> tuple[int, ...]:
        """Latent channels of each modality, in order."""
        return tuple(self.modalities.values())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> "WorldModel":
        """The model on another device (in place, as torch modules go)."""
        for part in (self.network, self.words, self.vae, self.coarse):
            if part is not None:
                part.to(device)
        return self

    def encode(
        self,
        clip: Clip,
        scale: Float[Tensor, "b"] | None = None,
        *,
        prompt: str | Sequence[str] | None = None,
        memory: MemoryRender | None = None,
        order: Int[Tensor, "b f"] | None = None,
        coarse: Clip | None = None,
    ) -> Encoded:
        """Clips as the denoiser takes them: what sampling starts from, and what it is conditioned on.

        Args:
            clip: Clips [b, f] on the model's device. What is unknown (depth 0, layout NaN or None) counts as far away
                and as black where it has to be noised.
            scale: The scene scale, metres (default: `worldgen.core.normalization.scene_scale`).
            prompt: One caption, or one per clip.
            memory: What the 3D memory of the world shows from the clips' cameras.
            order: Which frames each attends to (`Conditioning.order`).
            coarse: The same clips as the first stage makes them, of its size.

        Returns:
            The latent frames, the conditioning, and the normalization that leads back.

        Raises:
            InputError: For a size that does not fit, a prompt or memory that the model has no input for, or another
                number of prompts than clips.
        """
        scale = (scene_scale(clip) if scale is None else scale).float()
        normalization = Normalization.of(clip.cameras, scale)
        signals, _ = signals_of(clip, normalization, self.modalities)
        known = self.condition(clip.cameras, normalization, prompt=prompt, memory=memory, order=order, coarse=coarse)
        return Encoded(self.codec.encode(signals), known, normalization)

    def condition(
        self,
        cameras: Cameras,
        normalization: Normalization,
        *,
        prompt: str | Sequence[str] | None = None,
        memory: MemoryRender | None = None,
        order: Int[Tensor, "b f"] | None = None,
        coarse: Clip | None = None,
    ) -> Conditioning:
        """The conditioning on cameras [b, f] and more; arguments and errors as of `encode`."""
        seen = normalization.normalize(cameras).to(torch.float32)  # first relative to one of them, then of fewer digits
        conditioning = replace(Conditioning.of(seen), order=order)
        if prompt is not None:
            prompts = [prompt] * cameras.shape[0] if isinstance(prompt, str) else list(prompt)
            if self.text is None or len(prompts) != cameras.shape[0]:
                raise InputError(
                    f"{len(prompts)} prompts for {cameras.shape[0]} clips of {self.config.name!r}, whose text is "
                    f"{self.config.text.kind!r}; expected one, or one per clip, and a model that takes text"
                )
            tokens, mask = self.text.encode(prompts)
            conditioning = replace(conditioning, text=tokens.to(self.device), text_mask=mask.to(self.device))
        if memory is not None:
            if not self.config.network.memory_channels:
                raise InputError(f"a memory for {self.config.name!r}; expected a model with network.memory_channels")
            signal = normalization.signal_from_depth(torch.where(memory.depth > 0, memory.depth, torch.inf))
            latent = self.config.codec.encode_memory(memory.rgb, signal, memory.visible)
            conditioning = replace(conditioning, memory=latent)
        if coarse is not None:
            conditioning = replace(conditioning, coarse=stacked_signals(coarse, normalization, self.modalities))
        return conditioning

    def decode(
        self, latent: Float[Tensor, "b f c y x"], normalization: Normalization, cameras: Cameras, clamp: bool = True
    ) -> Clip:
        """Latent frames as clips, with a map for every modality of the model.

        Args:
            latent: As `encode` makes them.
            normalization: As `encode` returns it.
            cameras: Of the clips [b, f], in the caller's frame and units.
            clamp: Keep colors, and other maps of that range, in 0..1.

        Returns:
            Clips [b, f].
        """
        maps = maps_of(self.codec.decode(latent), normalization)
        limited = {name: part.clamp(0, 1) if clamp and MODALITIES[name].unit else part for name, part in maps.items()}
        return Clip.of_maps(limited, cameras)

    @property
    def computes_in(self) -> str:
        """What `precision` comes to on the model's device: fp32 or bf16."""
        return "bf16" if computes_half(self.precision, self.device) else "fp32"

    def denoiser(self, network: Callable[..., Any] | None = None) -> Denoiser:
        """(x, level, conditioning) -> the clean estimate x0, with products of the model's precision.

        Args:
            network: A function in the network's place, such as one that keeps tokens of a block.

        Returns:
            The denoiser of the model's process.
        """
        network = self.network if network is None else network
        denoise = self.config.process.precondition(network, self.modalities)
        return denoise if self.computes_in == "fp32" else HalfDenoiser(denoise)

    def save(self, folder: Path, int8: bool = False) -> None:
        """Write `config.json` and the weights (`worldgen.models.weights`).

        A trained codec and a first stage that are not embedded are written to the folders `codec` and `coarse` beside
        them, where `load` finds them.

        Args:
            folder: Made where it is not there.
            int8: Keep matrices as bytes with one scale a row.
        """
        if self.vae is not None and self.config.codec_weights not in codec_names():
            save_codec(self.vae, folder / "codec")
        if self.coarse is not None and self.config.coarse not in WorldModel.names():
            self.coarse.save(folder / "coarse")  # whole, so that it makes what it made
        folder.mkdir(parents=True, exist_ok=True)
        write_weights(self.state(), folder, int8)
        write_file(folder / "config.json", (json.dumps(plain(self.config), indent=2) + "\n").encode())

    @staticmethod
    def load(
        name: str | Path,
        device: torch.device | str = "auto",
        precision: str = "fp32",
        *,
        checkpointing: bool = False,
        context: Context | None = None,
    ) -> "WorldModel":
        """A stored model in evaluation mode.

        Args:
            name: Of an embedded model (`WorldModel.names()`), or a folder. A student's is its base with the student's
                change (`worldgen.models.students`).
            device: Where it goes; "auto" is a GPU where there is one.
            precision: fp32, bf16 or auto, see `WorldModel`.
            checkpointing: As in `create`.
            context: As in `create`.

        Raises:
            InputError: When there is none, its files do not fit together, the precision is another, or there is no such
                device.
        """
        device = pick_device(device) if isinstance(device, str) else device
        computes_half(precision, device)  # refuses another precision before anything is read
        folder = EMBEDDED / name if (EMBEDDED / name).is_dir() else Path(name)
        try:
            facts = upgraded(json.loads((folder / "config.json").read_text("utf-8")))
            kind = _load_student if isinstance(facts, dict) and "base" in facts else _load_plain
            model = kind(folder, facts, precision, checkpointing=checkpointing, context=context)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"model {str(name)!r}: {type(error).__name__}; expected one of {', '.join(WorldModel.names())} or a "
                "folder with config.json and weights.safetensors"
            ) from error
        return replace(model, precision=precision).training(False).to(device)

    @staticmethod
    def names() -> list[str]:
        """The embedded models."""
        return sorted(path.parent.name for path in EMBEDDED.glob("*/config.json"))


def _load_plain(folder: Path, facts: Any, precision: str, **options: Any) -> WorldModel:
    """A model with all its weights in a folder, and its first stage."""
    config = build(ModelConfig, facts, f"{folder}/config.json")
    state, digest = read_weights(folder)
    kept = config.codec_weights not in (None, *codec_names()) and (folder / "codec").exists()
    codec = load_codec(folder / "codec") if kept else None
    kept = config.coarse not in (None, *WorldModel.names()) and (folder / "coarse").exists()
    first = "coarse" if kept else config.coarse
    coarse = None if first is None else _load_other(folder, first, "its own first stage", precision)
    model = WorldModel.create(config, codec, coarse=coarse, **options)
    try:
        model.load_state(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"model {str(folder)!r}: weights do not fit its config ({reason})") from error
    return replace(model, weights_sha256=digest)


def _load_student(folder: Path, facts: Any, precision: str, **options: Any) -> WorldModel:
    """A base with a student's change. Raises InputError for a base of other weights, or a change that doesn't fit."""
    config = build(StudentConfig, facts, f"{folder}/config.json")
    base = _load_other(folder, config.base, "a student of itself", precision, **options)
    network, digest = load_changed(config, folder, base.network, base.weights_sha256)
    changed = replace(base.config, name=config.name, sampling=config.sampling)
    return replace(base, config=changed, network=network, weights_sha256=digest)


def _load_other(folder: Path, name: str, what: str, precision: str, **options: Any) -> WorldModel:
    """The model that one in a folder names: embedded, or a folder as seen from that one."""
    try:
        return WorldModel.load(name if name in WorldModel.names() else folder / name, "cpu", precision, **options)
    except RecursionError as error:
        raise InputError(f"{folder} is {what} by way of {name!r}; expected another model") from error
