"""The network beside diffusers' transformer blocks: `python -m benchmarks.model`.

One process, one thread, in turn. Exits with 1 if a promised ratio is missed by more than a fifth. diffusers has no part
in the default install: `pip install "worldgen[diffusers]"`; cases whose peer is missing are left out. On a machine with
a GPU the same command measures which share of the GPU's arithmetic training and sampling use, and where the time goes.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from benchmarks.shared.gpu import utilization
from benchmarks.shared.report import Report, publish
from benchmarks.shared.timing import TURNS, Result, case_options, compare, measure, misses, table
from geometry.camera.cameras import Cameras
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.attention import token_positions
from worldgen.models.network.dit import Block, DiTConfig, MultiViewDiT
from worldgen.runtime.config import load
from worldgen.sampling import Euler, Flow, Guidance, Levels, guide, sample
from worldgen.training.config.run import RunConfig
from worldgen.training.planning import Allocations

FRAMES, SIDE, WIDTH, HEADS, DEPTH = 8, 8, 384, 6, 6
MLP = 1024  # a gated MLP has three matrices: as many weights as an ungated one of 4 x WIDTH
CHANNELS, STEPS, GUIDANCE = (192, 64), 20, 2.0


def shown(batch: int = 1) -> Conditioning:
    """Cameras on a line."""
    pose = torch.eye(4).repeat(batch, FRAMES, 1, 1)
    pose[..., 0, 3] = torch.linspace(-1, 1, FRAMES)
    return Conditioning.of(Cameras.from_fov(pose, 60.0, (8 * SIDE, 8 * SIDE)))


def config(cameras: bool, text: bool) -> DiTConfig:
    """The network of the comparisons, with its camera terms and its text input or without."""
    rgb, depth = CHANNELS
    return DiTConfig(
        {"rgb": rgb, "depth": depth}, WIDTH, HEADS, MLP, 64, ("full",) * DEPTH, cameras, cameras,
        text_width=WIDTH if text else 0,
    )  # fmt: skip


def started(module: nn.Module) -> nn.Module:
    """With weights that are not zero, or the arithmetic could be easier than a trained network's."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.02)
    return module.eval().requires_grad_(False)


def block(cameras: bool, text: bool, dtype: torch.dtype) -> Callable[[], Tensor]:
    """One block over 512 tokens, each frame at a level of its own."""
    chosen = config(cameras, text)
    module = started(Block(chosen, "full")).to(dtype)
    x = torch.randn(1, FRAMES, SIDE * SIDE, WIDTH).to(dtype)
    modulation, rays = torch.randn(1, FRAMES, 6, WIDTH).to(dtype), torch.randn(1, FRAMES, SIDE * SIDE, 6).to(dtype)
    where = token_positions(shown(), (SIDE, SIDE), WIDTH // HEADS, cameras)
    words = (torch.randn(1, 1, WIDTH).to(dtype), torch.ones(1, 1, dtype=torch.bool)) if text else None
    return lambda: module(x, modulation, rays, where, None, words)[0]


def peers(text: bool, dtype: torch.dtype) -> dict[str, Callable[[], Tensor]]:
    """diffusers' blocks of the same width on as many tokens. Wan's and LTX's take a level for each token and always
    have a cross-attention; Basic's takes one level for all, and is left without one."""
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.transformers.transformer_ltx import LTXVideoRotaryPosEmbed, LTXVideoTransformerBlock
    from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformerBlock

    tokens, width, heads = FRAMES * SIDE * SIDE, WIDTH, WIDTH // HEADS
    x, words = torch.randn(1, tokens, width).to(dtype), torch.randn(1, 1, width).to(dtype)
    if not text:
        basic = started(
            BasicTransformerBlock(
                width, HEADS, heads, activation_fn="gelu-approximate", norm_type="ada_norm_single",
                norm_elementwise_affine=False, attention_bias=False,
            )
        ).to(dtype)  # fmt: skip
        level = torch.randn(1, 6 * width).to(dtype)
        return {"Basic": lambda: basic(x, timestep=level)}
    wan = started(WanTransformerBlock(width, 4 * width, HEADS, cross_attn_norm=True)).to(dtype)
    ltx = started(LTXVideoTransformerBlock(width, HEADS, heads, width)).to(dtype)
    turn = WanRotaryPosEmbed(heads, (1, 1, 1), 1024)(torch.zeros(1, 1, FRAMES, SIDE, SIDE))
    turn_ltx = LTXVideoRotaryPosEmbed(width)(x, FRAMES, SIDE, SIDE)
    levels = torch.randn(1, tokens, 6, width).to(dtype)
    return {
        "Wan": lambda: wan(x, words, levels, turn),
        "LTX": lambda: ltx(x, words, levels.flatten(2), turn_ltx),
    }


def blocks(repeats: int, dtype: torch.dtype) -> list[Result]:
    """A forward pass of one block, and what the camera terms add."""
    kind, results = str(dtype).removeprefix("torch."), []
    with torch.inference_mode():
        for text, case, targets in (
            (False, f"block {kind}, no cross-attention", {"Basic": 0.95}),
            (True, f"block {kind}, one text token", {"Wan": 1.2, "LTX": 1.2}),
        ):
            ours = block(False, text, dtype)
            for name, theirs in peers(text, dtype).items():
                runs = {"worldgen": ours, name: theirs}
                results += compare(case, runs, name, {"worldgen": targets[name]}, repeats)
        results += compare(
            f"block {kind}: the camera terms",
            {"PRoPE and rays": block(True, False, dtype), "neither": block(False, False, dtype)},
            "neither", {}, repeats,
        )  # fmt: skip
    return results


def our_sampling(cameras: bool) -> Callable[[], Tensor]:
    """Eight views of 64 x 64 pixels in 20 steps with guidance, by our network and sampler."""
    network = started(MultiViewDiT(config(cameras, text=True)))
    modalities = {"rgb": CHANNELS[0], "depth": CHANNELS[1]}
    denoiser = Flow(0.5, "velocity").precondition(network, modalities)
    x = torch.randn(1, FRAMES, sum(CHANNELS), SIDE, SIDE)
    given = torch.zeros(FRAMES, 2, dtype=torch.bool)
    given[0] = True
    plain = shown()
    words = torch.zeros(1, 1, WIDTH)
    conditioning = Conditioning(
        plain.cameras, plain.cameras_known, text=words, text_mask=torch.ones(1, 1, dtype=torch.bool)
    )

    def run() -> Tensor:
        guided, y = guide(denoiser, Guidance(image=GUIDANCE), x), x
        for state in sample(guided, x, x, Levels.given(given, STEPS), conditioning, Euler()):
            y = state.x
        return y

    return run


def their_sampling() -> Callable[[], Tensor]:
    """The same from diffusers' parts: a Wan transformer of the same width and depth, its scheduler, both branches of
    the guidance in one batch, a level for each frame."""
    from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel

    network: Any = started(
        WanTransformer3DModel(
            patch_size=(1, 1, 1), num_attention_heads=HEADS, attention_head_dim=WIDTH // HEADS,
            in_channels=sum(CHANNELS), out_channels=sum(CHANNELS), text_dim=WIDTH, freq_dim=64, ffn_dim=4 * WIDTH,
            num_layers=DEPTH,
        )
    )  # fmt: skip
    noise = torch.randn(1, sum(CHANNELS), FRAMES, SIDE, SIDE)
    words = torch.zeros(2, 1, WIDTH)

    def run() -> Tensor:
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(STEPS)
        x, given = noise, noise[:, :, :1]
        for time in scheduler.timesteps:
            level = time.repeat(2, FRAMES)
            level[0, 0], level[1, 0] = 0.0, 1000.0
            both = network(torch.cat([x, x]), repeat(level, "b f -> b (f n)", n=SIDE * SIDE), words, return_dict=False)[
                0
            ]
            seeing, blind = both.chunk(2)
            x = scheduler.step(blind + GUIDANCE * (seeing - blind), time, x, return_dict=False)[0]
            x = torch.cat([given, x[:, :, 1:]], 2)
        return rearrange(x, "b c f h w -> b f c h w")

    return run


def whole_sampling(repeats: int) -> list[Result]:
    """Sampling from beginning to end, with the most memory it holds beside the weights."""
    with torch.inference_mode():
        runs = {"worldgen": our_sampling(False), "worldgen with cameras": our_sampling(True)}
        runs["diffusers"] = their_sampling()
        peaks = []
        for name, run in runs.items():
            with Allocations() as held:
                run()
            peaks.append(f"{name} {held.peak / 1e6:.1f} MB")
        return compare(
            f"sampling 8 x 64 x 64, {STEPS} steps", runs, "diffusers", {"worldgen": 1.3}, repeats,
            "most held beside the weights: " + ", ".join(peaks),
        )  # fmt: skip


def main() -> int:
    """Run the requested cases and publish the tables."""
    parser = case_options(__doc__, ["block", "bf16", "sampling", "gpu"], 9)
    parser.add_argument("--config", type=Path, default=Path("configs/mini.yaml"), help="of the GPU's figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases: dict[str, Callable[[int], list[Result]]] = {
        "block": lambda repeats: blocks(repeats, torch.float32),
        "bf16": lambda repeats: blocks(repeats, torch.bfloat16),
        "sampling": lambda repeats: whole_sampling(max(3, repeats // 3)),
    }
    results, notes = measure(parser, arguments, cases)
    tables = [table(results)]
    if "gpu" in arguments.cases and torch.cuda.is_available():
        used = utilization(load(RunConfig, arguments.config), "cuda")
        tables.append(used.table)
        print(used.profile)
    report = Report.now("The network beside diffusers' blocks", tables, [TURNS, *notes], misses(results))
    return publish(report, arguments.report)


if __name__ == "__main__":
    sys.exit(main())
