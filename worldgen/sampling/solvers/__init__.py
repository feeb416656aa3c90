"""Solvers: from one row of levels to the next, given the clean estimate."""

from worldgen.sampling.solvers.solvers import (
    DDIM,
    DDPM,
    DPM2M,
    SOLVERS,
    Consistency,
    Euler,
    Heun,
    Solver,
    posterior_std,
)
from worldgen.sampling.solvers.unipc import UniPC

__all__ = ["DDIM", "DDPM", "DPM2M", "SOLVERS", "Consistency", "Euler", "Heun", "Solver", "UniPC", "posterior_std"]
