"""Text encoders: captions to tokens that the network reads.

`WordEncoder` needs nothing but torch and is trained with the model; T5 and CLIP come through `transformers`.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from geometry.errors import InputError
from geometry.shapes import Bool, Float

_BUCKETS = 4096
_KINDS = ("none", "words", "t5", "clip")


@dataclass(frozen=True)
class TextConfig:
    """Which text encoder a model reads.

    kind    "none", "words" (`WordEncoder`, trained with the model), "t5" or "clip" (frozen, through transformers)
    name    of the hub model, or its folder, for t5 and clip
    width   of a token; t5 and clip have their own, which must be given here
    tokens  the longest caption read
    """

    kind: str = "none"
    name: str = ""
    width: int = 0
    tokens: int = 40

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise InputError(f"text kind {self.kind!r}; expected one of {', '.join(_KINDS)}")
        if (self.kind == "none") != (self.width == 0) or self.width < 0 or self.tokens < 1:
            raise InputError(
                f"text {self.kind!r} of width {self.width} and {self.tokens} tokens; expected width 0 for none, else "
                "the tokens' width, and at least 1 token"
            )
        if self.kind in ("t5", "clip") and not self.name:
            raise InputError(f"text {self.kind!r} without a name; expected a hub model or its folder")


@runtime_checkable
class TextEncoder(Protocol):
    """Captions to tokens."""

    @property
    def width(self) -> int:
        """Of a token."""
        ...

    def encode(self, captions: Sequence[str]) -> tuple[Float[Tensor, "b t e"], Bool[Tensor, "b t"]]:
        """Tokens and which of them are meant; an empty caption has none."""
        ...


def words_of(caption: str) -> list[str]:
    """The lower-case words and numbers of a caption."""
    return re.findall(r"[a-z0-9]+", caption.lower())


class WordEncoder(nn.Module):
    """Words hashed into a table, with their letters' trigrams so that unseen ones say something (Bojanowski et al.
    2017, eq. 3), then a small transformer. No vocabulary, no files."""

    def __init__(self, width: int, tokens: int):
        super().__init__()
        self.width, self.tokens = width, tokens
        self.table = nn.Embedding(_BUCKETS, width)
        self.place = nn.Parameter(torch.zeros(tokens, width))
        layer = nn.TransformerEncoderLayer(
            width, max(1, width // 32), 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)

    def encode(self, captions: Sequence[str]) -> tuple[Float[Tensor, "b t e"], Bool[Tensor, "b t"]]:
        """Tokens [b, t, width] of the first `tokens` words of each caption, t the most words of any (at least 1)."""
        return self(captions)

    def forward(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """As `encode`."""
        device = self.place.device
        texts = [words_of(caption)[: self.tokens] for caption in captions]
        count = max(1, *(len(text) for text in texts), 1)
        mask = torch.tensor([[i < len(text) for i in range(count)] for text in texts], device=device)
        rows, owners = [], []
        for b, text in enumerate(texts):
            for i, word in enumerate(text):
                pieces = _pieces(word)
                rows += pieces
                owners += [b * count + i] * len(pieces)
        owner = torch.tensor(owners, dtype=torch.long, device=device)
        piece = self.table(torch.tensor(rows, dtype=torch.long, device=device))
        total = torch.zeros(len(texts) * count, self.width, device=device, dtype=piece.dtype).index_add(0, owner, piece)
        share = torch.bincount(owner, minlength=len(total)).clamp_min(1)[:, None]
        tokens = (total / share).unflatten(0, (len(texts), count)) + self.place[:count]
        readable = mask | ~mask.any(-1, keepdim=True)  # a caption without words is dropped by its mask
        return self.layers(tokens, src_key_padding_mask=~readable), mask


def _pieces(word: str) -> list[int]:
    """Table rows of a word and its trigrams."""
    marked = f"<{word}>"
    parts = [marked, *(marked[i : i + 3] for i in range(len(marked) - 2))]
    return [zlib.crc32(part.encode()) % _BUCKETS for part in parts]


class HubEncoder:
    """A frozen T5 or CLIP text model of `transformers` with its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, tokens: int):
        self.model, self.tokenizer, self.tokens = model.requires_grad_(False).eval(), tokenizer, tokens

    @property
    def width(self) -> int:
        """Of a token."""
        config = self.model.config
        return int(config.d_model if hasattr(config, "d_model") else config.hidden_size)

    @staticmethod
    def load(config: TextConfig, device: torch.device | str = "cpu") -> "HubEncoder":
        """From the hub, its cache, or a folder. Raises InputError without transformers, offline, or for another
        width."""
        try:
            import transformers
        except ModuleNotFoundError as error:
            raise InputError(
                f'text encoder {config.kind} needs transformers; install it with pip install "worldgen[text]"'
            ) from error
        kind = transformers.T5EncoderModel if config.kind == "t5" else transformers.CLIPTextModel
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(config.name)
            model = kind.from_pretrained(config.name, use_safetensors=True)
        except (OSError, ValueError, ImportError) as error:
            raise InputError(
                f"text encoder {config.name!r}: {str(error).splitlines()[0]}; expected a {config.kind} model of the "
                "hub (offline: one in its cache) or a folder with one, as safetensors"
            ) from error
        encoder = HubEncoder(model.to(device), tokenizer, config.tokens)
        if encoder.width != config.width:
            raise InputError(f"text encoder {config.name!r} of width {encoder.width}; the model expects {config.width}")
        return encoder

    def encode(self, captions: Sequence[str]) -> tuple[Float[Tensor, "b t e"], Bool[Tensor, "b t"]]:
        """The last hidden states of each caption's tokens."""
        longest = self.tokenizer(
            list(captions), padding=True, truncation=True, max_length=self.tokens, return_tensors="pt"
        )
        ids, mask = (longest[name].to(self.model.device) for name in ("input_ids", "attention_mask"))
        with torch.no_grad():
            tokens = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        given = torch.tensor([bool(caption.strip()) for caption in captions], device=mask.device)
        return tokens.float(), mask.bool() & given[:, None]
