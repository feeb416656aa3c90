"""Noise schedules: how a column comes down from level 1 to 0, a level a row. Each is a tensor [steps + 1], float64."""

import math

import numpy as np
import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.sampling.process import Process

Schedule = Float[Tensor, "s"]


def as_schedule(schedule: "int | Schedule") -> Schedule:
    """A number of even steps, or a noise schedule itself. Raises InputError unless it falls from at most 1 to 0."""
    if isinstance(schedule, int):
        return uniform(schedule)
    if not isinstance(schedule, Tensor):
        raise InputError(
            f"a noise schedule {schedule!r}; expected a number of steps, or a tensor of levels that fall to 0"
        )
    ends = schedule.ndim == 1 and len(schedule) > 1 and bool(schedule[0] <= 1) and bool(schedule[-1] == 0)
    if not ends or not bool((schedule.diff() < 0).all()):
        levels = [round(v, 4) for v in schedule.flatten().tolist()]
        raise InputError(f"a noise schedule {levels}; expected levels that fall to 0")
    return schedule


def uniform(steps: int) -> Schedule:
    """Even steps in level. Raises InputError for fewer than one."""
    if steps < 1:
        raise InputError(f"{steps} sampling steps; expected at least 1")
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


def shifted(steps: int, shift: float) -> Schedule:
    """More of the steps at high levels where shift > 1: t -> s t / (1 + (s - 1) t) (Esser et al. 2024, eq. 23)."""
    if not shift > 0:
        raise InputError(f"level shift {shift}; expected more than 0")
    t = uniform(steps)
    return shift * t / (1 + (shift - 1) * t)


def resolution_shift(pixels: int, trained_pixels: int) -> float:
    """The shift at which `Flow` hides as much of an image of `pixels` as of those trained on (Esser 2024, eq. 23)."""
    if min(pixels, trained_pixels) < 1:
        raise InputError(f"{pixels} and {trained_pixels} pixels; expected at least 1")
    return math.sqrt(pixels / trained_pixels)


def karras(steps: int, process: Process, least: float = 0.002, most: float = 80.0, rho: float = 7.0) -> Schedule:
    """Even steps in (sigma / alpha)^(1 / rho) from `most` to `least`, then 0 (Karras et al. 2022, eq. 5)."""
    _check_ratios(least, most)
    if not rho > 0:
        raise InputError(f"rho {rho}; expected more than 0")
    share = torch.linspace(1, 0, len(uniform(steps)) - 1, dtype=torch.float64)
    ratio = (least ** (1 / rho) + share * (most ** (1 / rho) - least ** (1 / rho))) ** rho
    return _from_ratios(ratio, process)


def log_snr(steps: int, process: Process, least: float = 0.002, most: float = 80.0) -> Schedule:
    """Even steps in log(sigma / alpha) from `most` to `least`, then 0."""
    _check_ratios(least, most)
    count = len(uniform(steps)) - 1
    return _from_ratios(torch.logspace(math.log10(most), math.log10(least), count, dtype=torch.float64), process)


def _check_ratios(least: float, most: float) -> None:
    if not 0 < least < most < math.inf:
        raise InputError(f"noise to signal from {least} to {most}; expected 0 < least < most")


def _from_ratios(ratio: Tensor, process: Process) -> Schedule:
    """The levels of these ratios; the first one is 1, since nothing is known of what is generated."""
    level = process.level_of(ratio)
    level = torch.cat([torch.ones(1, dtype=torch.float64), level[1:], torch.zeros(1, dtype=torch.float64)])
    return as_schedule(level)


def optimized(steps: int, process: Process, variances: Float[Tensor, "n"], order: int = 1) -> Schedule:
    """The noise schedule whose samples of independent normal numbers of these variances have the least wrong spread.

    order  1 for Euler and DDIM, 2 for DPM-Solver++ 2M

    Sampling a normal number is a product of factors, one a step, so the error is exact and has no noise: the mean over
    the variances of the squared log of (sampled / true standard deviation). Signals have the variances of their
    principal components, which say at which levels something happens (the idea of Sabour et al. 2024, "Align Your
    Steps", on an oracle instead of a network). Minimized by L-BFGS from a Karras schedule and from an even one.

    Raises InputError for variances that are not above 0.
    """
    from scipy.optimize import minimize

    from worldgen.sampling.solvers.column_levels import ColumnLevels
    from worldgen.sampling.solvers.dpm2m import DPM2M
    from worldgen.sampling.solvers.first_order import Euler

    if order not in (1, 2) or not len(variances) or not bool((variances > 0).all()):
        raise InputError(f"variances {variances.tolist()} and order {order}; expected more than 0, and 1 or 2")
    solver = Euler() if order == 1 else DPM2M()
    power = variances.double().numpy()

    def schedule(logits: np.ndarray) -> np.ndarray:
        shares = np.exp(logits - logits.max())
        return np.concatenate([[1.0], 1 - np.cumsum(shares / shares.sum())[:-1], [0.0]])

    def error(logits: np.ndarray) -> float:
        column = ColumnLevels.of(process, schedule(logits))
        terms = solver.coefficients(column)
        alpha, sigma = column.alpha[:-1], column.sigma[:-1]
        gain = alpha[:, None] * power / (alpha[:, None] ** 2 * power + sigma[:, None] ** 2)
        x, before = np.full_like(power, sigma[0]), np.zeros_like(power)
        for row in range(steps):
            x0 = gain[row] * x
            estimate = x0 if order == 1 else before + terms[2, row] * (x0 - before)
            x, before = terms[0, row] * x + terms[1, row] * estimate, x0
        return float(np.mean(np.log(np.maximum(np.abs(x), 1e-12) / np.sqrt(power)) ** 2))

    if steps == 1:
        return uniform(1)
    starts = [-np.diff(part.numpy()) for part in (karras(steps, process), uniform(steps))]
    found = [minimize(error, np.log(start), method="L-BFGS-B", options={"maxiter": 200}) for start in starts]
    return as_schedule(torch.from_numpy(schedule(min(found, key=lambda result: result.fun).x)))
