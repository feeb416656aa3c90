"""Levels, solvers, guidance and the one loop that runs every mode."""

from worldgen.sampling.guidance import guide_given
from worldgen.sampling.levels import Levels
from worldgen.sampling.process import Denoiser, Flow
from worldgen.sampling.restoration import (
    Blur,
    Downsample,
    Grey,
    Inpaint,
    LinearOperator,
    consistent,
    displayable,
    level_of_noise,
    measurement_residual,
    project,
)
from worldgen.sampling.sampler import State, keyed_noise, sample
from worldgen.sampling.solvers import Euler, Heun

__all__ = [
    "Blur",
    "Denoiser",
    "Downsample",
    "Euler",
    "Flow",
    "Grey",
    "Heun",
    "Inpaint",
    "Levels",
    "LinearOperator",
    "State",
    "consistent",
    "displayable",
    "guide_given",
    "keyed_noise",
    "level_of_noise",
    "measurement_residual",
    "project",
    "sample",
]
