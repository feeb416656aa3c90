"""Every mode of the sampler on a few frames of two modalities, and every process: what tests run through."""

from collections.abc import Callable

import torch

from worldgen.sampling.levels import Levels
from worldgen.sampling.process import EDM, VP, Flow, Process
from worldgen.sampling.solvers import DPM2M, Euler, Heun, Solver, UniPC

FRAMES, MODALITIES = 4, {"rgb": 2, "depth": 1}
KNOWN = torch.tensor([[True, True], [False, True], [False, False], [False, False]])
ORDERS: dict[str, tuple[Solver, int]] = {
    "Euler": (Euler(), 1),
    "Heun": (Heun(), 2),
    "DPM-Solver++ 2M": (DPM2M(), 2),
    "UniPC": (UniPC(), 2),
}
PROCESSES: dict[str, Process] = {
    "flow": Flow(),
    "EDM": EDM(),
    "VP linear": VP(),
    "VP cosine": VP(schedule="cosine"),
    "VP zero-terminal": VP(schedule="zero_terminal"),
}
_M = len(MODALITIES)
MODES: dict[str, Callable[[int], Levels]] = {
    "full sequence": lambda steps: Levels.full_sequence(FRAMES, _M, steps),
    "given": lambda steps: Levels.given(KNOWN, steps),
    "autoregressive": lambda steps: Levels.autoregressive(FRAMES, _M, steps, chunk=2),
    "rolling": lambda steps: Levels.rolling(FRAMES, _M, steps, lag=steps // 2),
    "keyframes": lambda steps: Levels.keyframes(FRAMES, _M, steps, (3, 2)),
    "temporal super-resolution": lambda steps: Levels.temporal_super_resolution(FRAMES, _M, steps, 2),
    "depth from images": lambda steps: Levels.by_modality(FRAMES, (0, 1), steps),
    "depth before images": lambda steps: Levels.by_modality(FRAMES, (2, 1), steps),
    "refine": lambda steps: Levels.refine(FRAMES, _M, steps),
    "stabilized history": lambda steps: Levels.stabilized(KNOWN, steps),
}
