"""Averages of the weights over a run, whose length is chosen when the run is over (Karras et al. 2024, "Analyzing and
Improving the Training Dynamics of Diffusion Models", section 3.1 and appendix C).

A power-function average of exponent g at step t weighs the weights of step s by their share of p(s) = (g + 1) s^g /
t^(g + 1) on 0..t: it looks back over the same share of the run however long that is, and forgets where it began. Its
length is the standard deviation of p as a share of t (sigma_rel there). A run keeps a few lengths and stores them at
intervals; the profile p of any other length is then nearly a weighted sum of the stored ones.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from geometry.errors import InputError
from geometry.values import as_value
from worldgen.models.config import ModelConfig
from worldgen.models.world_model import WorldModel
from worldgen.runtime.atomic_dir import new_folder
from worldgen.runtime.config import build, upgraded
from worldgen.training.engine.checkpoint import Checkpoint

_FOLDER = "averages"
LONGEST = 12**-0.5  # the length of the plain mean of all steps, exponent 0
_LARGEST_ERROR = 0.05  # of a profile that still counts as the wanted one


def exponent(length: float) -> float:
    """The exponent g of a length: the largest root of (g + 2)^2 (g + 3) = (g + 1) / length^2 (equation 126)."""
    inverse = length**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def decay(length: float, step: int) -> float:
    """What is kept of an average when the weights of a step, counted from 1, come in (equation 127)."""
    return (1 - 1 / step) ** (exponent(length) + 1)


def snapshot_path(run: Path, step: int) -> Path:
    """Where a run stores its averages of a step."""
    return run / _FOLDER / f"{step:07d}.safetensors"


def forget_later(run: Path, step: int) -> None:
    """Remove the averages of later steps: a run that resumes from an earlier checkpoint may continue differently."""
    for path in (run / _FOLDER).glob("[0-9]*.safetensors*"):
        if int(path.name.partition(".")[0]) > step:
            path.unlink()


@as_value
@dataclass(frozen=True)
class Profiles:
    """How n averages weigh the run.

    steps      [n] that they end at
    exponents  [n]
    """

    steps: np.ndarray
    exponents: np.ndarray

    @staticmethod
    def of(steps: list[int], lengths: list[float]) -> "Profiles":
        """Profiles of lengths, pair by pair."""
        return Profiles(np.array(steps, dtype=np.float64), np.array([exponent(length) for length in lengths]))

    def products(self, other: "Profiles") -> np.ndarray:
        """The integrals [n, m] of the profiles' products with m others'."""
        t, g = self.steps[:, None], self.exponents[:, None]
        early, late = np.minimum(t, other.steps), np.maximum(t, other.steps)
        of_late = np.where(t < other.steps, other.exponents, g)
        return (g + 1) * (other.exponents + 1) * (early / late) ** of_late / ((g + other.exponents + 1) * late)

    def combined(self, wanted: "Profiles") -> tuple[np.ndarray, float]:
        """Factors [n] of the sum nearest to the wanted profile, and its error relative to that profile.

        Least squares (algorithm 3) among factors that sum to 1, so that weights which never moved come back as they
        are. Were each step's weights independent noise about a mean, the average's noise would differ by that share.
        """
        gram, right = self.products(self), self.products(wanted)[:, 0]
        size = np.sqrt(np.diag(gram))  # profiles of norm 1 are better conditioned
        bordered = np.block([[gram / size[:, None] / size, 1 / size[:, None]], [1 / size, np.zeros((1, 1))]])
        factors = np.linalg.lstsq(bordered, np.append(right / size, 1.0), rcond=1e-12)[0][:-1] / size
        norm = wanted.products(wanted)[0, 0]
        squared = norm - 2 * factors @ right + factors @ gram @ factors
        return factors, float(np.sqrt(max(squared, 0.0) / norm))


class Snapshots:
    """The averages that a run has stored in its folder. Raises InputError when there are none."""

    def __init__(self, run: Path):
        paths = sorted(path for path in (run / _FOLDER).glob("*.safetensors") if path.stem.isdigit())
        if not paths:
            raise InputError(
                f"{run / _FOLDER}: no averages; expected the output folder of a run with train.averages that has "
                "reached its first train.average_every steps"
            )
        files = [Checkpoint(path) for path in paths]
        self.count, self.step, self.run = len(files), files[-1].header["step"], files[-1].header["run"]
        self.lengths: list[float] = self.run["train"]["averages"]
        self._kept = [(file, length) for file in files for length in self.lengths]
        self._profiles = Profiles.of([file.header["step"] for file, _ in self._kept], [kept for _, kept in self._kept])

    def combined(self, length: float) -> tuple[np.ndarray, float]:
        """The factors of all stored averages for one of a length at the last snapshot's step, and the error of its
        profile. Raises InputError for a length whose profile they cannot approximate."""
        if 0 < length < LONGEST:
            factors, error = self._nearest(length)
            if error <= _LARGEST_ERROR:
                return factors, error
        tried = [*self.lengths, *np.geomspace(0.01, 0.28, 100).tolist()]
        near = [some for some in tried if self._nearest(some)[1] <= _LARGEST_ERROR]
        raise InputError(
            f"an average of length {length} from {self.count} snapshots of {self.lengths}; expected "
            f"{min(near):.3f} to {max(near):.3f}, which can be made of them"
        )

    def _nearest(self, length: float) -> tuple[np.ndarray, float]:
        return self._profiles.combined(Profiles.of([self.step], [length]))

    def average(self, length: float) -> dict[str, Tensor]:
        """The averaged weights of a length at the step of the last snapshot. Raises InputError as `combined` does."""
        factors, _ = self.combined(length)
        weights: dict[str, Tensor] = {}
        for factor, (file, kept) in zip(factors.tolist(), self._kept):
            for name in (name for name in file if name.startswith(f"{kept}/")):
                part = factor * file[name].double()
                name = name.removeprefix(f"{kept}/")
                weights[name] = weights[name] + part if name in weights else part
        return {name: value.float() for name, value in weights.items()}


def average(run: Path, length: float, output: Path) -> str:
    """Make the model of a run with weights averaged over a length (`worldgen average`).

    Args:
        run: Output folder of a run with `train.averages`.
        length: Standard deviation of the time the average looks back to, as a share of the run.
        output: New or empty folder, which `WorldModel.load` reads; in int8, as training leaves it.

    Returns:
        A sentence of what was made.

    Raises:
        InputError: A run without averages, a length they cannot make, a folder that holds something.
    """
    with new_folder(output, kind="model", inputs=(run,)) as folder:
        snapshots = Snapshots(run)
        error = snapshots.combined(length)[1]
        model = WorldModel.create(build(ModelConfig, upgraded(snapshots.run["model"]), f"{run / _FOLDER}: model"))
        model.load_state(snapshots.average(length))
        model.save(folder, int8=True)
    return (
        f"average of length {length} at step {snapshots.step} from {snapshots.count} snapshots, its profile "
        f"{100 * error:.2g}% off: {output}"
    )
