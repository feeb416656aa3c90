"""How fast solvers converge, in every mode: `python -m benchmarks.solvers --plot orders.png`.

On correlated normal frames a deterministic solver is an affine map, so the law it samples is known exactly: the images
of the mean and of a root of the covariance. Rows lie on an even grid of log-SNR between flow's levels 0.98 and 0.02,
and the error is the largest one of the mean and the covariance in the last row, from the exact law in the first.

Exits with 1 if an order is missed by more than a quarter.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.shared.report import Report, Table, command, publish
from geometry.io.images import write_png
from tests.sampling.modes import FRAMES, MODALITIES, MODES, ORDERS, PROCESSES
from worldgen.sampling.oracles import Gaussian, convergence_order

_INKS = ((0.10, 0.30, 0.55), (0.85, 0.40, 0.10), (0.15, 0.60, 0.35), (0.55, 0.20, 0.55))


def plot(curves: dict[str, dict[str, list[float]]], steps: Sequence[int], path: Path) -> None:
    """A small log-log panel a mode: error over steps, a line a solver."""
    import numpy as np
    from PIL import Image, ImageDraw

    wide, tall, edge = 210, 170, 26
    across = 4
    down = -(-len(curves) // across)
    canvas = Image.new("RGB", (across * wide, down * tall + 24), "white")
    draw = ImageDraw.Draw(canvas)
    every = [error for lines in curves.values() for line in lines.values() for error in line]
    low, high = math.log10(min(every)), math.log10(max(every))
    colors = [tuple(int(255 * v) for v in ink) for ink in _INKS]

    def place(n: int, k: int, error: float) -> tuple[float, float]:
        share = math.log(steps[k] / steps[0]) / math.log(steps[-1] / steps[0])
        left, top = n % across * wide + edge, n // across * tall + 16
        height = (math.log10(error) - low) / (high - low)
        return left + share * (wide - edge - 8), top + (1 - height) * (tall - 36)

    for n, (mode, lines) in enumerate(curves.items()):
        draw.text((n % across * wide + edge, n // across * tall + 2), mode, "black")
        for power in range(math.ceil(low), math.floor(high) + 1):
            ends = [place(n, k, 10.0**power) for k in (0, len(steps) - 1)]
            draw.line(ends, "#dddddd")
            draw.text((n % across * wide + 2, ends[0][1] - 6), f"1e{power}", "#888888")
        for k in (0, len(steps) - 1):
            draw.text((place(n, k, 10.0**low)[0] - 6, n // across * tall + tall - 18), str(steps[k]), "#888888")
        for color, line in zip(colors, lines.values()):
            draw.line([place(n, k, error) for k, error in enumerate(line)], color, 2)
    for n, (color, name) in enumerate(zip(colors, ORDERS)):
        draw.text((edge + 160 * n, down * tall + 6), f"{name} (order {ORDERS[name][1]})", color)
    write_png(path, torch.from_numpy(np.array(canvas)).permute(2, 0, 1).float() / 255)


def main() -> int:
    """Publish the orders of every solver in every mode, and with every process; plot them on request."""
    parser = command(__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 40, 80, 160], help="of a schedule")
    parser.add_argument("--plot", type=Path, help="write the errors over the steps as a PNG")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows, misses, curves = [], [], {}
    cases = [(mode, "flow") for mode in MODES] + [("rolling", name) for name in PROCESSES if name != "flow"]
    for mode, name in cases:
        gaussian, cells, lines = Gaussian.random(FRAMES, MODALITIES, PROCESSES[name]), [], {}
        for solver, (made, promised) in ORDERS.items():
            lines[solver], found = convergence_order(gaussian, MODES[mode], made, arguments.steps)
            cells += [lines[solver][-1], found]
            if found < 0.75 * promised:
                misses.append(f"{mode}, {name}: {solver} of order {found:.2f} (promised {promised})")
        curves[mode if name == "flow" else f"{mode}, {name}"] = lines
        rows.append((mode, name, *cells))
    columns = {"mode": "", "process": ""}
    for name in ORDERS:
        columns |= {f"{name} error": ".1e", f"{name} order": ".2f"}
    if arguments.plot:
        plot(curves, arguments.steps, arguments.plot)
    notes = [
        f"Largest error of the sampled law's mean and covariance after {arguments.steps[-1]} steps, and the order by "
        "which it falls with the number of steps."
    ]
    return publish(Report.now("Orders of solvers", [Table.of(columns, rows)], notes, misses), arguments.report)


if __name__ == "__main__":
    sys.exit(main())
