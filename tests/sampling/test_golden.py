"""Solvers step by step beside an independent library's, on an exact mixture posterior (`shared/golden`)."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import FunctionDenoiser
from worldgen.sampling.levels import Levels
from worldgen.sampling.oracles import blank
from worldgen.sampling.process import Process
from worldgen.sampling.sampler import sample
from worldgen.sampling.solvers import DDIM, DDPM, DPM2M, Consistency, Euler, Heun, Solver, UniPC

RUNS: dict[str, Solver] = {
    "ddpm_leading": DDPM(),
    "ddpm_trailing": DDPM(),
    "ddpm_large_variance": DDPM(variance="large"),
    "ddim_eta0": DDIM(),
    "ddim_eta0.7": DDIM(0.7),
    "euler_linspace": Euler(),
    "euler_leading_offset1": Euler(),
    "euler_trailing": Euler(),
    "euler_karras": Euler(),
    "edm_euler_karras": Euler(),
    "edm_euler_exponential": Euler(),
    "flow_euler_shift1": Euler(),
    "flow_euler_shift3": Euler(),
    "flow_euler_dynamic_mu0.8": Euler(),
    "flow_euler_linspace_shift5": Euler(),
    "flow_euler_stochastic_shift3": Consistency(),
    "heun_linspace": Heun(),
    "heun_karras": Heun(),
    "flow_heun_shift3": Heun(),
    "dpmpp2m": DPM2M(),
    "dpmpp2m_karras": DPM2M(),
    "dpmpp2m_trailing": DPM2M(),
    "dpmpp2m_flow_shift3": DPM2M(),
    "edm_dpmpp2m": DPM2M(),
    "unipc2_bh2": UniPC(),
    "unipc2_bh1_sigma_min": UniPC(kind="bh1"),
    "unipc3_bh2": UniPC(3),
    "unipc2_flow_shift3": UniPC(),
    "lcm": Consistency(),
}
NOT_SHIPPED = {
    "dpmpp2m_heun": "another second-order term of DPM-Solver++",
    "dpmpp3m": "third order of DPM-Solver++",
    "dpmpp2m_sde_karras": "the stochastic DPM-Solver++",
}


@dataclass(frozen=True)
class Table(Process):
    """The reference's own noise levels, a row each: level (n - k) / n is row k."""

    alphas: tuple[float, ...] = ()
    sigmas: tuple[float, ...] = ()
    flow: bool = False

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        row = ((1 - level) * (len(self.alphas) - 1)).round().long()
        alpha, sigma = torch.tensor([self.alphas, self.sigmas], dtype=torch.float64)[:, row]
        return alpha, sigma

    def motion(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sigma = self.alpha_sigma(level)[1]
        return sigma, torch.full_like(sigma, -1.0 if self.flow else 0.0), torch.ones_like(sigma)


@pytest.fixture(scope="module")
def golden(shared: Path) -> tuple[dict, dict[str, Tensor]]:
    with safe_open(shared / "golden" / "schedulers.safetensors", "pt") as file:
        facts = {name: json.loads(file.metadata()[name]) for name in ("runs", "own_float64_max_abs_difference")}
        return facts, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict


def table(name: str, tensors: dict[str, Tensor], heun: bool) -> Table:
    """The levels at which the model was called, and the last one."""
    points = tensors[f"{name}.model_alpha_sigma"]
    if heun:
        points = points[[0, *range(1, len(points) - 1, 2)]]
    last = (1.0, 0.0)
    if name.startswith("ddim"):
        first = float(tensors["alphas_cumprod.scaled_linear.0.00085.0.012"][0])
        last = (first**0.5, (1 - first) ** 0.5)
    if name == "unipc2_bh1_sigma_min":
        ratio = float(tensors[f"{name}.sigmas"][-1])
        last = (1 / (1 + ratio**2) ** 0.5, ratio / (1 + ratio**2) ** 0.5)
    rows = [*points.tolist(), last]
    return Table(alphas=tuple(a for a, _ in rows), sigmas=tuple(s for _, s in rows), flow="flow" in name)


def test_every_run_of_the_reference_is_compared_or_named_as_not_shipped(golden) -> None:
    assert set(golden[0]["runs"]) == {*RUNS, *NOT_SHIPPED}


@pytest.mark.parametrize("name", RUNS)
def test_a_solver_follows_the_reference_step_by_step(name: str, golden) -> None:
    facts, tensors = golden
    solver, samples = RUNS[name], tensors[f"{name}.samples"]
    process = table(name, tensors, solver.corrects)
    means, stds, weights = (tensors[f"gmm.{part}"] for part in ("means", "stds", "weights"))

    def denoise(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        alpha, sigma = (part.flatten()[0] for part in process.alpha_sigma(level.double()))
        flat = x.flatten(1)[:, None]
        variance = alpha**2 * stds**2 + sigma**2
        away = flat - alpha * means
        log = weights.log() - 4 * variance.log() - away.square().sum(-1) / (2 * variance)
        x0 = means + (alpha * stds**2 / variance)[:, None] * away
        return (log.softmax(-1)[..., None] * x0).sum(1)[:, None, :, None, None]

    rows = len(process.alphas)
    levels = Levels(torch.linspace(1, 0, rows, dtype=torch.float64)[:, None, None])
    noises = tensors.get(f"{name}.noise", torch.zeros(0, 4, 8, dtype=torch.float64))
    noises = torch.cat([noises, torch.zeros(1, 4, 8, dtype=torch.float64)])[:, :, None, :, None, None]
    start = samples[0][:, None, :, None, None] / process.sigmas[0]
    states = sample(
        FunctionDenoiser(denoise, process, {"x": 8}), start, start, levels, blank(4, 1), solver,
        fresh=lambda moves: noises[min(int(moves[0, 0]) - 1, len(noises) - 1)],
    )  # fmt: skip
    own = facts["own_float64_max_abs_difference"].get(name, 2e-6)
    # The reference's consistency model keeps 2.5e-7 of x at its lowest level.
    tolerance = 1.2 * own + (1e-6 if name == "lcm" else 0)
    steps = 0
    for state in states:
        at = min(2 * state.row, len(samples) - 1) if solver.corrects else state.row
        assert (state.x.flatten(1) - samples[at]).abs().max() <= tolerance, state.row
        steps += 1
    assert steps == rows - 1 == facts["runs"][name]["steps"]
