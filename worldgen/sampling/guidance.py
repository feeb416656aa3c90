"""Guidance: denoisers made of several branches of one denoiser, or of a stronger and a weaker one.

All branches of a call run as one batch. A branch of scale 1 is not evaluated, and where no other branch is,
the guided denoiser predicts bit for bit what the plain one predicts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import Denoiser, DenoiserWrapper, FunctionDenoiser, channels_of, of_frames
from worldgen.sampling.levels import HISTORY_LEVEL
from worldgen.sampling.process import per_channel

# A number; one a frame [f]; or a function of the level [b, f, m] with as many values.
Scale = float | Tensor | Callable[[Tensor], Tensor]
Branch = tuple[Tensor, Tensor, Conditioning]


def within(scale: float, low: float, high: float) -> Scale:
    """A scale at levels from `low` to `high`, and 1 elsewhere (Kynkäänniemi et al. 2024)."""
    if not 0 <= low < high <= 1:
        raise InputError(f"guidance at levels {low} to {high}; expected 0 <= low < high <= 1")
    return lambda level: torch.where((level >= low) & (level <= high), scale, 1.0)


@as_value
@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (Ho & Salimans 2022), a scale for each thing that can be left out; 1 = none.

    text, camera, memory  without the words, the cameras, or what the 3D memory shows
    image    the given images and depth at level 1 instead of 0, replaced by their columns' own noise: the same
             network knowing nothing of them
    layout   the same of the given layout
    rescale  0 to 1: how far each frame's spread is brought back to that of the plain estimate (Lin et al. 2023, eq. 16)
    given    the level at and below which a column counts as given: stabilized history's

    x0 = plain + sum over the parts of (scale - 1) (plain - without it), and plain where it is given.
    """

    text: Scale = 1.0
    image: Scale = 1.0
    camera: Scale = 1.0
    layout: Scale = 1.0
    memory: Scale = 1.0
    rescale: float = 0.0
    given: float = HISTORY_LEVEL

    def __post_init__(self) -> None:
        for name, scale in self.scales().items():
            if isinstance(scale, (int, float)) and not -100 <= scale <= 100:
                raise InputError(f"guidance {name} {scale}; expected -100 to 100")
        if not 0 <= self.rescale <= 1:
            raise InputError(f"guidance rescale {self.rescale}; expected 0 to 1")

    def scales(self) -> dict[str, Scale]:
        """By the name of what is left out."""
        return {name: getattr(self, name) for name in ("text", "image", "camera", "layout", "memory")}


def guide(denoiser: Denoiser, guidance: Guidance, noise: Tensor) -> Denoiser:
    """The guided denoiser; `denoiser` itself where every scale is the number 1.

    noise  standard normal [b or 1, f, c, h, w] to hide what is given with
    """
    scales = {name: s for name, s in guidance.scales().items() if not _is(s, 1)}
    return _Guided(denoiser, guidance, scales, noise) if scales else denoiser


@dataclass(frozen=True)
class _Guided(DenoiserWrapper):
    guidance: Guidance
    scales: Mapping[str, Scale]
    noise: Tensor

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        plain: Branch = (x, level, conditioning)
        others: list[tuple[float | Tensor, Branch]] = []
        for name, scale in self.scales.items():
            amount = _amount(scale, level)
            branch = self._without(name, plain)
            wanted = bool((amount != 1).any()) if isinstance(amount, Tensor) else amount != 1
            if branch is not None and wanted:
                others.append((amount, branch))
        if not others:
            return self.denoiser(x, level, conditioning)
        seeing, *blind = evaluate_branches(self.denoiser, [plain, *(branch for _, branch in others)])
        total, channels = seeing, self.channels
        for (amount, _), estimate in zip(others, blind):
            total = total + _spread(amount - 1, channels, seeing) * (seeing - estimate)
        total = torch.where(_wide(level <= self.guidance.given, channels), seeing, total)
        return total if self.guidance.rescale == 0 else rescaled(total, seeing, self.guidance.rescale)

    def _without(self, name: str, plain: Branch) -> Branch | None:
        """The branch with one thing left out; None where it is not there anyway."""
        x, level, conditioning = plain
        if name in ("image", "layout"):
            meant = [(m == "layout") == (name == "layout") for m in self.modalities]
            hidden = (level <= self.guidance.given) & torch.tensor(meant, device=level.device)
            return hide(plain, hidden, self.noise, self.denoiser) if bool(hidden.any()) else None
        there = {
            "text": conditioning.text_mask,
            "camera": conditioning.cameras_known,
            "memory": conditioning.memory,
        }[name]
        if there is None or not bool(there.any()):
            return None
        drop = {"text": Conditioning.without_text, "camera": Conditioning.without_cameras,
                "memory": Conditioning.without_memory}[name]  # fmt: skip
        return x, level, drop(conditioning)

    def select_frames(self, chosen: list[int]) -> Denoiser:
        """The same for some of the frames (`worldgen.sampling.windows`)."""
        scales = {name: _at(scale, chosen) for name, scale in self.scales.items()}
        inner = of_frames(self.denoiser, chosen)
        return replace(self, denoiser=inner, scales=scales, noise=self.noise[:, chosen])


def evaluate_branches(denoiser: Denoiser, branches: Sequence[Branch]) -> tuple[Tensor, ...]:
    """The estimates of several branches with the same number of clips each, in one call."""
    xs, levels, conditionings = zip(*branches)
    return denoiser(torch.cat(xs), torch.cat(levels), Conditioning.cat(conditionings)).chunk(len(branches))


def rescaled(guided: Tensor, plain: Tensor, share: float) -> Tensor:
    """Each frame with its standard deviation brought back to the plain estimate's, by a share."""
    ratio = plain.std((-3, -2, -1), keepdim=True) / guided.std((-3, -2, -1), keepdim=True).clamp_min(1e-12)
    return guided * (share * ratio + 1 - share)


def _wide(columns: Tensor, channels: tuple[int, ...]) -> Tensor:
    """Whether each channel's column [b, f, m] is meant, [b, f, c, 1, 1]."""
    return per_channel(columns.float(), channels) > 0


def _spread(amount: float | Tensor, channels: tuple[int, ...], like: Tensor) -> float | Tensor:
    """A number, or one for each channel."""
    return per_channel(amount, channels).to(like) if isinstance(amount, Tensor) else amount


def _amount(scale: Scale, level: Tensor) -> float | Tensor:
    """A number, or one for each of [b, f, m]."""
    if callable(scale):
        return scale(level)
    if isinstance(scale, Tensor):
        if scale.shape != level.shape[1:2]:
            raise InputError(f"guidance scales {tuple(scale.shape)} for {level.shape[1]} frames; expected one a frame")
        return scale.to(level)[None, :, None].expand_as(level)
    return float(scale)


def _towards(
    base: Tensor, estimates: Sequence[Tensor], weights: Sequence[Scale], level: Tensor, channels: tuple[int, ...]
) -> Tensor:
    """base + sum of weight (estimate - base)."""
    total = base
    for weight, estimate in zip(weights, estimates):
        total = total + _spread(_amount(weight, level), channels, base) * (estimate - base)
    return total


def _is(scale: Scale, number: int) -> bool:
    """Whether a scale is this number, always."""
    return isinstance(scale, (int, float)) and scale == number


def _at(scale: Scale, chosen: list[int]) -> Scale:
    """The scale of some of the frames."""
    return scale[chosen] if isinstance(scale, Tensor) else scale


def hide(branch: Branch, hidden: Tensor, noise: Tensor, denoiser: Denoiser, to: float = 1.0) -> Branch:
    """The branch with the columns `hidden` [b, f, m] raised to a level: at 1 they are their own noise alone."""
    x, level, conditioning = branch
    noised = denoiser.process.add_noise(x, noise, torch.full_like(level[:1, :1, :1, None, None], to))
    wide = _wide(hidden, channels_of(denoiser))
    return torch.where(wide, noised, x), torch.where(hidden, to, level), conditioning


@as_value
@dataclass(frozen=True)
class History:
    """A part of what is given, and how much it weighs.

    frames  which given frames are seen; None = all of them
    level   how much they are noised: more keeps only what is coarse ("fractional" history)
    """

    weight: Scale
    frames: tuple[int, ...] | None = None
    level: float = 0.0


def guide_history(
    denoiser: Denoiser, histories: Sequence[History], noise: Tensor, given: float = HISTORY_LEVEL
) -> Denoiser:
    """Guide towards several views of the history (Song et al. 2025, "History-Guided Video Diffusion", eq. 5):

    x0 = blind + sum of weight (with that history - blind), where blind sees no history. One history of all frames at
    level 0 is `Guidance(image=weight)`, and with weight 1 the denoiser itself.
    """
    if not histories or any(not 0 <= h.level < 1 for h in histories):
        raise InputError(f"histories {list(histories)}; expected at least one, at levels from 0 to less than 1")
    first = histories[0]
    everything = len(histories) == 1 and first.frames is None and first.level == 0
    if everything and _is(first.weight, 1):
        return denoiser
    return _HistoryGuided(denoiser, tuple(histories), noise, given)


@dataclass(frozen=True)
class _HistoryGuided(DenoiserWrapper):
    histories: tuple[History, ...]
    noise: Tensor
    given: float

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        plain: Branch = (x, level, conditioning)
        known = level <= self.given
        if not bool(known.any()):
            return self.denoiser(x, level, conditioning)
        branches = [self._hidden(plain, known, 1.0)]
        for history in self.histories:
            frames = torch.zeros_like(known)
            if max(history.frames or (0,)) >= known.shape[1]:
                raise InputError(f"history of frames {history.frames}; expected some of 0 to {known.shape[1] - 1}")
            frames[:, slice(None) if history.frames is None else list(history.frames)] = True
            part = plain if history.level == 0 else self._hidden(plain, known, history.level)
            branches.append(self._hidden(part, known & ~frames, 1.0))
        blind, *seeing = evaluate_branches(self.denoiser, branches)
        total = _towards(blind, seeing, [h.weight for h in self.histories], level, self.channels)
        return torch.where(_wide(known, self.channels), x, total)

    def _hidden(self, branch: Branch, hidden: Tensor, to: float) -> Branch:
        return hide(branch, hidden, self.noise, self.denoiser, to)

    def select_frames(self, chosen: list[int]) -> Denoiser:
        """The same for some of the frames (`worldgen.sampling.windows`)."""
        kept = []
        for history in self.histories:
            shown = history.frames and tuple(chosen.index(f) for f in history.frames if f in chosen)
            kept.append(replace(history, weight=_at(history.weight, chosen), frames=shown))
        return replace(
            self, denoiser=of_frames(self.denoiser, chosen), histories=tuple(kept), noise=self.noise[:, chosen]
        )


def autoguide(denoiser: Denoiser, weaker: Denoiser, scale: Scale) -> Denoiser:
    """Away from what a weaker network says, such as an earlier or smaller one (Karras et al. 2024, "Guiding a diffusion
    model with a bad version of itself", eq. 4). The number 1 is the denoiser itself."""
    if _is(scale, 1):
        return denoiser
    return _Autoguided(denoiser, weaker, scale)


@dataclass(frozen=True)
class _Autoguided(DenoiserWrapper):
    weaker: Denoiser
    scale: Scale

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        weak, strong = (d(x, level, conditioning) for d in (self.weaker, self.denoiser))
        return _towards(weak, [strong], [self.scale], level, self.channels)

    def select_frames(self, chosen: list[int]) -> Denoiser:
        """The same for some of the frames (`worldgen.sampling.windows`)."""
        inner, weaker = (of_frames(d, chosen) for d in (self.denoiser, self.weaker))
        return replace(self, denoiser=inner, weaker=weaker, scale=_at(self.scale, chosen))


@as_value
@dataclass(frozen=True)
class Prompt:
    """Words, and how much they are wanted; a negative weight avoids them."""

    text: Float[Tensor, "b t e"]
    text_mask: Tensor
    weight: Scale


def compose(denoiser: Denoiser, prompts: Sequence[Prompt], avoid: Prompt | None = None) -> Denoiser:
    """Several prompts at once (Liu et al. 2022, "Compositional Visual Generation", eq. 11):

    x0 = base + sum of weight (with the prompt - base), where base has no words, or those to `avoid` (a negative
    prompt). One prompt of weight 1 is evaluated alone. The text of the conditioning it is called with
    is ignored. Raises InputError for no prompt.
    """
    if not prompts:
        raise InputError("no prompts; expected at least one")

    def composed(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        first = prompts[0]
        conditionings = [replace(conditioning, text=p.text, text_mask=p.text_mask) for p in prompts]
        if len(prompts) == 1 and _is(first.weight, 1):
            return denoiser(x, level, conditionings[0])
        base = conditionings[0].without_text()
        if avoid is not None:
            base = replace(conditioning, text=avoid.text, text_mask=avoid.text_mask)
        plain, *wanted = evaluate_branches(denoiser, [(x, level, c) for c in (base, *conditionings)])
        return _towards(plain, wanted, [prompt.weight for prompt in prompts], level, channels_of(denoiser))

    return FunctionDenoiser.like(denoiser, composed)


def guide_by_energy(
    denoiser: Denoiser,
    energy: Callable[[Tensor], Tensor],
    step: Scale,
    repeats: int = 1,
    low: float = 0.0,
) -> Denoiser:
    """Move each clean estimate down an energy [b] of it (`worldgen.sampling.energies`): x0 - step grad energy(x0).

    repeats  steps down in each call
    low      columns at levels up to this one stay, such as what is given, or where details are settled

    The gradient is that of the estimate alone, not through the network (as in Bansal et al. 2023, "Universal guidance",
    backward guidance, 3.2). Step 0 is the denoiser itself. An energy is of all frames: not for windows.
    """
    if _is(step, 0):
        return denoiser
    channels = channels_of(denoiser)

    def guided(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        x0 = denoiser(x, level, conditioning)
        if float(level.max()) <= low:
            return x0
        pace = _spread(_amount(step, level), channels, x0) * per_channel((level > low).to(x0), channels)
        with torch.inference_mode(False), torch.enable_grad():
            for _ in range(repeats):
                leaf = x0.detach().clone().requires_grad_()
                (slope,) = torch.autograd.grad(energy(leaf).sum(), leaf)
                x0 = leaf.detach() - pace * slope
        return x0

    return FunctionDenoiser.like(denoiser, guided)
