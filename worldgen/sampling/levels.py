"""`Levels`: every mode of a model as a matrix of noise levels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Bool, Float, Int
from geometry.values import as_value
from worldgen.sampling.schedules import Schedule, as_schedule

HISTORY_LEVEL = 0.02  # of given frames in stabilized history


@as_value
@dataclass(frozen=True)
class Levels:
    """A matrix [rows, frames, modalities] of what is known of each (frame, modality): 0 = given and clean, 1 = unknown.

    From one row to the next is one solver step. Columns never rise, and each is constant or ends at 0. Constructors
    take a `schedule`, which is a number of even steps or one of `worldgen.sampling.schedules`, and `known` [f, m], the
    columns that are given (default: none).

    Args:
        matrix: The levels, in 0..1.
        partial: Whether columns may also end above 0: a stage that another one follows (`Pyramid`).

    Raises:
        InputError: For levels outside 0..1, columns that rise, or that neither stay constant nor end at 0.
    """

    matrix: Float[Tensor, "r f m"]
    partial: bool = False

    def __post_init__(self) -> None:
        m = self.matrix
        if m.ndim != 3 or min(m.shape) < 1 or len(m) < 2:
            raise InputError(
                f"levels of shape {tuple(m.shape)}; expected [rows, frames, modalities], 2 or more rows, none empty"
            )
        if not bool(((m >= 0) & (m <= 1)).all()):
            raise InputError(f"levels from {float(m.min())} to {float(m.max())}; expected all in 0..1, none NaN")
        rises = m.diff(dim=0) > 0
        if bool(rises.any()):
            row, frame, modality = rises.nonzero()[0].tolist()
            raise InputError(
                f"levels that rise from one row to the next (frame {frame}, modality {modality}, from "
                f"{float(m[row, frame, modality]):g} to {float(m[row + 1, frame, modality]):g} in row {row + 1}); "
                "expected columns that only fall"
            )
        if not self.partial and not bool(((m[-1] == 0) | (m == m[0]).all(0)).all()):
            raise InputError("levels that fall but do not reach 0; expected columns that are constant or end at 0")

    @staticmethod
    def staggered(
        start: Int[Tensor, "f m"], schedule: int | Schedule, known: Bool[Tensor, "f m"] | None = None
    ) -> "Levels":
        """Each column begins its noise schedule in the row `start`: all other modes are made of this."""
        down = as_schedule(schedule).float()
        if start.ndim != 2 or not start.numel():
            raise InputError(f"columns of shape {tuple(start.shape)}; expected [frames, modalities], none empty")
        known = torch.zeros_like(start, dtype=torch.bool) if known is None else known
        if known.shape != start.shape:
            raise InputError(
                f"known columns {tuple(known.shape)}; expected {tuple(start.shape)}, frames and modalities"
            )
        start = torch.where(known, 0, start)
        rows = torch.arange(int(start.max()) + len(down))[:, None, None]
        return Levels(torch.where(known, 0.0, down[(rows - start).clamp(0, len(down) - 1)]))

    @staticmethod
    def full_sequence(frames: int, modalities: int, schedule: int | Schedule) -> "Levels":
        """Everything unknown, denoised together."""
        return Levels.staggered(_zeros(frames, modalities), schedule)

    @staticmethod
    def given(known: Bool[Tensor, "f m"], schedule: int | Schedule) -> "Levels":
        """Known columns stay at 0; all others come down together. Images to views, prediction, interpolation."""
        return Levels.staggered(torch.zeros_like(known, dtype=torch.long), schedule, known)

    @staticmethod
    def stabilized(known: Bool[Tensor, "f m"], schedule: int | Schedule, history: float = HISTORY_LEVEL) -> "Levels":
        """As `given`, but with the known columns slightly noised, so that the network relies less on their errors (Chen
        et al. 2024, "Diffusion Forcing", 3.3). They are returned as they were given."""
        if not 0 <= history < 1:
            raise InputError(f"history at level {history}; expected 0 to less than 1")
        return Levels(torch.where(known, history, Levels.given(known, schedule).matrix))

    @staticmethod
    def autoregressive(
        frames: int, modalities: int, schedule: int | Schedule, chunk: int = 1, known: Bool[Tensor, "f m"] | None = None
    ) -> "Levels":
        """Chunk after chunk of frames, each begun when the one before is clean."""
        _zeros(frames, modalities)
        if chunk < 1:
            raise InputError(f"chunks of {chunk} frames; expected at least 1")
        return Levels._in_turn(torch.arange(frames) // chunk, modalities, schedule, None, known)

    @staticmethod
    def rolling(
        frames: int, modalities: int, schedule: int | Schedule, lag: int, known: Bool[Tensor, "f m"] | None = None
    ) -> "Levels":
        """Each frame begins `lag` rows after the one before it, which is not yet clean then (progressive: Xie et al.
        2024; rolling diffusion: Ruhe et al. 2024). steps / lag frames move at once; lag = steps is autoregressive."""
        if not 1 <= lag <= len(as_schedule(schedule)) - 1:
            raise InputError(f"a lag of {lag} rows; expected 1 to the number of steps {len(as_schedule(schedule)) - 1}")
        return Levels._in_turn(torch.arange(frames), modalities, schedule, lag, known)

    @staticmethod
    def keyframes(
        frames: int,
        modalities: int,
        schedule: int | Schedule,
        tiers: Sequence[int] | Sequence[Sequence[int]],
        known: Bool[Tensor, "f m"] | None = None,
        group: int = 1,
        most: int | None = None,
    ) -> "Levels":
        """Keyframes first, then the frames between them, over any number of tiers.

        tiers  strides that fall, such as (8, 2): every 8th frame and the last, then every 2nd, then the rest; or the
               numbers of each tier's frames
        group  images in a latent frame after the first (`Codec.group`): frames are then counted in latent ones, and
               tiers of numbers name images, each of which must be the last of its latent frame
        most   frames that move at once: larger tiers take several turns, from the first frames on
        """
        _zeros(frames, modalities)
        if most is not None and most < 1:
            raise InputError(f"at most {most} frames at once; expected at least 1")
        turn = torch.full((frames,), len(tiers))
        for n in reversed(range(len(tiers))):
            tier = tiers[n]
            if isinstance(tier, int):
                before = tiers[n - 1] if n else None
                if tier < 1 or (n and not (isinstance(before, int) and tier < before)):
                    raise InputError(f"tiers of strides {list(tiers)}; expected strides that fall, of 1 or more")
                turn[::tier] = n
                turn[-1] = 0
            else:
                for frame in tier:
                    turn[latent_frame(frame, group, frames)] = n
        if most is not None:
            free = torch.ones(frames, dtype=torch.bool) if known is None else ~known.all(1)
            place = torch.stack([((turn == n) & free).cumsum(0) - 1 for n in range(len(tiers) + 1)])
            turn = frames * turn + place.gather(0, turn[None])[0].clamp_min(0) // most
        return Levels._in_turn(turn, modalities, schedule, None, known)

    @staticmethod
    def temporal_super_resolution(frames: int, modalities: int, schedule: int | Schedule, stride: int) -> "Levels":
        """Every `stride`-th frame is given, in all modalities."""
        if stride < 2:
            raise InputError(f"every {stride}-th frame given; expected 2 or more")
        known = torch.arange(frames)[:, None] % stride == 0
        return Levels.given(known.expand(-1, modalities), schedule)

    @staticmethod
    def refine(
        frames: int,
        modalities: int,
        schedule: int | Schedule,
        start: float = 0.6,
        known: Bool[Tensor, "f m"] | None = None,
    ) -> "Levels":
        """From a rendered or rough clip, noised to the level `start` (Meng et al. 2021, "SDEdit")."""
        if not 0 < start <= 1:
            raise InputError(f"refinement from level {start}; expected more than 0, to 1")
        return Levels.staggered(_zeros(frames, modalities), start * as_schedule(schedule), known)

    @staticmethod
    def by_modality(frames: int, turns: Sequence[int], schedule: int | Schedule) -> "Levels":
        """Modalities after each other: 0 = given, those of turn 1 come first, then those of turn 2.

        For rgb, depth and layout: (0, 1, 0) is depth from images, (1, 1, 0) a layout to images and depth, (1, 1, 1)
        joint, (2, 1, 0) depth before images.
        """
        if not turns or min(turns) < 0:
            raise InputError(f"turns of modalities {list(turns)}; expected 0 (given), 1, 2, ... for each")
        turn = torch.tensor(turns).expand(frames, -1)
        _zeros(frames, len(turns))
        steps = len(as_schedule(schedule)) - 1
        return Levels.staggered(steps * (_ranks(turn, turn == 0)), schedule, turn == 0)

    @staticmethod
    def _in_turn(
        turn: Int[Tensor, "f"],
        modalities: int,
        schedule: int | Schedule,
        lag: int | None,
        known: Bool[Tensor, "f m"] | None,
    ) -> "Levels":
        """Frames of the next turn begin `lag` rows later, by default when the last turn's are done; turns in which
        nothing is unknown take no time."""
        wide = turn[:, None].expand(-1, modalities)
        known = torch.zeros_like(wide, dtype=torch.bool) if known is None else known
        if known.shape != wide.shape:
            raise InputError(f"known columns {tuple(known.shape)}; expected {tuple(wide.shape)}, frames and modalities")
        lag = len(as_schedule(schedule)) - 1 if lag is None else lag
        return Levels.staggered(lag * _ranks(wide, known), schedule, known)

    def thinned(self, steps: int) -> "Levels":
        """The same way down in fewer steps.

        Args:
            steps: Rows at most in which the same columns go down together, 1 or more.

        Returns:
            Some of the rows: the first, the last, those at which a column begins or ends its way, and as many as may be
            between them. So no more columns go down at once than before.

        Raises:
            InputError: For fewer than 1.
        """
        if steps < 1:
            raise InputError(f"levels thinned to {steps} steps; expected 1 or more")
        falls = self.matrix.diff(dim=0).flatten(1) < 0
        turns = (falls[1:] != falls[:-1]).any(1).nonzero().flatten() + 1
        ends = [0, *turns.tolist(), len(falls)]
        rows = [torch.linspace(a, b, min(steps, b - a) + 1).round().long() for a, b in pairwise(ends)]
        return replace(self, matrix=self.matrix[torch.cat(rows).unique()])

    @property
    def still(self) -> Bool[Tensor, "f m"]:
        """Columns that never change: given, and returned as they were."""
        return (self.matrix == self.matrix[0]).all(0)

    def to_json(self) -> str:
        """As JSON: {"levels": [[[...]]]}, rows of frames of modalities."""
        double = self.matrix.dtype == torch.float64
        return json.dumps({"levels": self.matrix.tolist(), "partial": self.partial, "double": double})

    @staticmethod
    def from_json(text: str) -> "Levels":
        """Levels from `to_json`, bit for bit. Raises InputError for anything else."""
        try:
            facts = json.loads(text)
            kind = torch.float64 if facts.get("double") is True else torch.float32
            return Levels(torch.tensor(facts["levels"], dtype=kind), facts.get("partial") is True)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"levels as JSON: {error}; expected {{'levels': rows of frames of modalities}}") from error

    def plot(self, modalities: Sequence[str] | None = None) -> Float[Tensor, "3 h w"]:
        """An image: time to the right, a line a frame, a block a modality; light is known, dark is unknown."""
        from worldgen.sampling.plots import draw_levels

        return draw_levels(self.matrix, modalities)

    def __len__(self) -> int:
        return len(self.matrix)

    def __str__(self) -> str:
        """One line a frame and modality, one digit a row (0..9, # = 1)."""
        digits = [["#" if v >= 1 else str(int(v * 10)) for v in column] for column in self.matrix.flatten(1).T.tolist()]
        names = [f"frame {f} modality {m}" for f in range(self.matrix.shape[1]) for m in range(self.matrix.shape[2])]
        return "\n".join(f"{name}  {''.join(row)}" for name, row in zip(names, digits))


def latent_frame(frame: int, group: int, frames: int) -> int:
    """The latent frame that an image ends: the first is alone, then `group` share one.

    Raises InputError for an image inside a latent frame, or beyond the last of `frames`.
    """
    if frame % group:
        raise InputError(
            f"keyframe {frame} with {group} images in a latent frame; expected 0 or a multiple of {group}, the last "
            "image of its latent frame"
        )
    if not 0 <= frame // group < frames:
        raise InputError(f"keyframe {frame} of {1 + (frames - 1) * group} frames; expected one of them")
    return frame // group


def _zeros(frames: int, modalities: int) -> Tensor:
    if frames < 1 or modalities < 1:
        raise InputError(f"{frames} frames of {modalities} modalities; expected at least 1")
    return torch.zeros(frames, modalities, dtype=torch.long)


def _ranks(turn: Int[Tensor, "f m"], known: Bool[Tensor, "f m"]) -> Int[Tensor, "f m"]:
    """The rank of each column's turn among the turns in which something is unknown."""
    taken = turn[~known].unique()
    return torch.searchsorted(taken, turn.contiguous())
