"""Levels, processes, solvers, guidance and the one loop that runs every mode.

denoiser   what the sampler calls
process    how a level mixes signal and noise
schedules  how a column comes down from 1 to 0
levels     every mode as a matrix of levels
solvers    from one row to the next
sampler    the loop
noise      keyed by seed, clip, frame and modality
windows    which frames the network sees
guidance   denoisers made of denoisers
restoration  estimates that agree with what was measured
energies   what estimates are moved towards
pyramid    from small images to large ones
oracles    closed-form denoisers to test samplers on
"""

from worldgen.sampling.denoiser import CachingDenoiser, Denoiser, FunctionDenoiser
from worldgen.sampling.energies import Energy, camera_energy, flow_energy, mask_energy, reprojection_energy
from worldgen.sampling.guidance import (
    Guidance,
    History,
    Prompt,
    autoguide,
    compose,
    guide,
    guide_by_energy,
    guide_history,
    within,
)
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise, keyed_noise
from worldgen.sampling.process import EDM, VP, Flow, Process
from worldgen.sampling.pyramid import Pyramid, sample_pyramid
from worldgen.sampling.restoration import (
    Blur,
    Downsample,
    Gray,
    Inpaint,
    LinearOperator,
    consistent,
    displayable,
    level_of_noise,
    measurement_residual,
    project,
)
from worldgen.sampling.sampler import SamplerState, begin, invert, reflow_pairs, sample
from worldgen.sampling.solvers import DDIM, DDPM, DPM2M, SOLVERS, Consistency, Euler, Heun, Solver, UniPC
from worldgen.sampling.windows import Window, nearness

__all__ = [
    "DDIM",
    "DDPM",
    "DPM2M",
    "EDM",
    "SOLVERS",
    "VP",
    "Blur",
    "CachingDenoiser",
    "Consistency",
    "Denoiser",
    "Downsample",
    "Energy",
    "Euler",
    "Flow",
    "FunctionDenoiser",
    "Gray",
    "Guidance",
    "Heun",
    "History",
    "Inpaint",
    "KeyedNoise",
    "Levels",
    "LinearOperator",
    "Process",
    "Prompt",
    "Pyramid",
    "SamplerState",
    "Solver",
    "UniPC",
    "Window",
    "autoguide",
    "begin",
    "camera_energy",
    "compose",
    "consistent",
    "displayable",
    "flow_energy",
    "guide",
    "guide_by_energy",
    "guide_history",
    "invert",
    "keyed_noise",
    "level_of_noise",
    "mask_energy",
    "measurement_residual",
    "nearness",
    "project",
    "reflow_pairs",
    "reprojection_energy",
    "sample",
    "sample_pyramid",
    "within",
]
