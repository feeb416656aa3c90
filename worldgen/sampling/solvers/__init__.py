"""Solvers: from one row of levels to the next, given the clean estimate. Any of them runs with any process and matrix.

base           what a solver is: `reference_step`, and the optional table of coefficients
column_levels  one column's levels, and its moves from one to the next
first_order    Euler, DDIM, DDPM, consistency
heun, dpm2m, unipc  the second and higher orders
table          rows of steps by coefficients worked out beforehand
reference      rows of steps by `reference_step`, column by column
"""

from worldgen.sampling.solvers.base import Solver, TableSolver
from worldgen.sampling.solvers.column_levels import ColumnLevels, Move
from worldgen.sampling.solvers.dpm2m import DPM2M
from worldgen.sampling.solvers.first_order import DDIM, DDPM, Consistency, Euler
from worldgen.sampling.solvers.heun import Heun
from worldgen.sampling.solvers.unipc import UniPC

# The one place that names solvers: errors, help and docs are derived from it. `SOLVERS["mine"] = Mine()` adds one.
SOLVERS: dict[str, Solver] = {
    "euler": Euler(),
    "heun": Heun(),
    "ddim": DDIM(),
    "ddpm": DDPM(),
    "dpm++2m": DPM2M(),
    "unipc": UniPC(),
    "consistency": Consistency(),
}

__all__ = [
    "DDIM",
    "DDPM",
    "DPM2M",
    "SOLVERS",
    "ColumnLevels",
    "Consistency",
    "Euler",
    "Heun",
    "Move",
    "Solver",
    "TableSolver",
    "UniPC",
]
