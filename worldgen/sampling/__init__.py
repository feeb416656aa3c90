"""Levels, solvers, guidance and the one loop that runs every mode."""

from worldgen.sampling.guidance import guide_given
from worldgen.sampling.levels import Levels
from worldgen.sampling.process import Denoiser, Flow
from worldgen.sampling.sampler import State, keyed_noise, sample
from worldgen.sampling.solvers import Euler, Heun

__all__ = [
    "Denoiser",
    "Euler",
    "Flow",
    "Heun",
    "Levels",
    "State",
    "guide_given",
    "keyed_noise",
    "sample",
]
