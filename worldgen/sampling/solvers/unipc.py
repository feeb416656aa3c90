"""UniPC: the next estimate also corrects the step before (Zhao et al. 2023), at no further call of the denoiser."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from geometry.errors import InputError
from worldgen.sampling.solvers.base import Coefficient, SolverHistory, TableSolver, blend, mix
from worldgen.sampling.solvers.column_levels import ColumnLevels, Move


@dataclass(frozen=True)
class UniPC(TableSolver):
    """The unified predictor-corrector in its data-prediction form (algorithms 7 and 8 there), of order 1 to 3.

    kind  "bh1" or "bh2": B(h) is h, or e^h - 1

    A column's first steps, and its last, have fewer estimates to build on, so its order rises from 1 and falls to 1;
    what starts at an infinite log(alpha / sigma) is a first-order step that is not corrected.
    """

    order: int = 2
    kind: str = "bh2"

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3) or self.kind not in ("bh1", "bh2"):
            raise InputError(f"UniPC of order {self.order}, {self.kind!r}; expected 1, 2 or 3 and bh1 or bh2")

    @property
    def history(self) -> int:  # type: ignore[override]
        """x at the start of the last move, and the estimates of the last `order` moves."""
        return 1 + self.order

    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        """Correct x by its own estimate (UniC, algorithm 7), then predict (UniP, algorithm 8)."""
        x_before, *estimates = history
        if move.index and math.isfinite(move.now.log_ratio) and math.isfinite(move.earlier(1).now.log_ratio):
            x = self._update(move.earlier(1), x_before, estimates, arrived=x0)
        y = self._update(move, x, [x0, *estimates])
        return (x, x0, *estimates[: self.order - 1]), y

    def _update(self, move: Move, x: Tensor, estimates: Sequence[Tensor], arrived: Tensor | None = None) -> Tensor:
        """x' = sigma' / sigma x - alpha' (e^-h - 1) m_0 - alpha' B(h) sum_k a_k D_k / r_k, D_k = m_k - m_0;
        m_0 is the newest of the estimates, and `arrived` that at the end of the move."""
        now, after, order = move.now, move.after, self._order(move)
        h = after.log_ratio - now.log_ratio
        r = [(move.earlier(k).now.log_ratio - now.log_ratio) / h for k in range(1, order)]
        D = [m - estimates[0] for m in estimates[1:order]]
        if arrived is not None:
            r, D = [*r, 1.0], [*D, arrived - estimates[0]]
        y = move.first_order(x, estimates[0])
        for a, D_k, r_k in zip(self._weights_of(r, h), D, r):
            y = y - float(after.alpha * self._scale(h) * a / r_k) * D_k
        return y

    def _weights_of(self, r: list[float], h: float) -> list[float]:
        """a of R a = b, b_n = n! (-h) phi_n+1(-h) / B(h), phi_n+1(z) = (phi_n(z) - 1 / n!) / z (eq. 11); 1/2 of one."""
        if len(r) < 2:
            return [0.5] * len(r)
        phi, b = math.expm1(-h) / -h, []
        for n in range(1, len(r) + 1):
            phi = (phi - 1 / math.factorial(n)) / -h
            b.append(math.factorial(n) * -h * phi / self._scale(h))
        return np.linalg.solve([[place**n for place in r] for n in range(len(r))], b).tolist()

    def _order(self, move: Move) -> int:
        """The order of a move: from 1 where a column begins, to 1 where it ends, and 1 where lambda is infinite."""
        if not (math.isfinite(move.now.log_ratio) and math.isfinite(move.after.log_ratio)):
            return 1
        before = [move.earlier(k).now.log_ratio for k in range(1, min(self.order, move.index + 1))]
        finite = next((k for k, log_ratio in enumerate(before) if not math.isfinite(log_ratio)), len(before))
        return min(1 + finite, move.left + 1)

    def coefficients(self, column: ColumnLevels) -> np.ndarray:
        """Of the corrected x: x itself, the history, x0; then of the prediction: corrected x, x0, estimates before."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            orders = self._orders(column)
            return np.concatenate([self._correction(column, orders), self._prediction(column, orders)])

    def _orders(self, column: ColumnLevels) -> np.ndarray:
        """The order of each step's prediction."""
        done = np.arange(len(column))
        order = np.minimum(np.minimum(self.order, done + 1), len(column) - done)
        finite = np.isfinite(column.log_ratio)
        order = np.where(finite[:-1] & finite[1:], order, 1)
        for moves in range(1, self.order):
            order = np.where(np.isfinite(column.earlier(moves)[1]), order, np.minimum(order, moves))
        return order

    def _prediction(self, column: ColumnLevels, orders: np.ndarray) -> np.ndarray:
        a, b = column.linear()
        log_ratio = column.log_ratio
        h = np.diff(log_ratio)
        terms = np.zeros((1 + self.order, *a.shape))
        terms[:2] = a, b
        for order in range(2, self.order + 1):
            # Where earlier estimates were made, in steps from here: negative.
            chosen = orders == order
            where = [((column.earlier(k)[1] - log_ratio[:-1]) / h)[chosen] for k in range(1, order)]
            places = np.stack(where, -1)
            self._add(terms[1:], chosen, column.alpha[1:], h, self._weights(places, h[chosen]), places)
        return terms

    def _correction(self, column: ColumnLevels, orders: np.ndarray) -> np.ndarray:
        """Terms of x, the x before, the estimates before (newest first), and the new one."""
        log_ratio = column.log_ratio[:-1]
        alpha_before, start = column.earlier(1)
        h = log_ratio - start
        terms = np.zeros((3 + self.order, *h.shape))
        corrected = np.isfinite(h)
        terms[0] = ~corrected
        ratio = np.exp(start - log_ratio) * column.alpha[:-1] / alpha_before
        a = np.where(corrected, ratio, 0)
        terms[1], terms[2] = a, np.where(corrected, column.alpha[:-1] * (1 - np.exp(-h)), 0)
        taken = np.concatenate([orders[:1], orders[:-1]])  # the order of the step that is corrected
        for order in range(1, self.order + 1):
            chosen = corrected & (taken == order)
            where = [((column.earlier(k)[1] - start) / h)[chosen] for k in range(2, order + 1)]
            places = np.stack([*where, np.ones_like(h[chosen])], -1)
            weights = self._weights(places, h[chosen])
            # The new estimate's share goes to the last term, those of earlier ones behind the newest.
            self._add(terms[2:-1], chosen, column.alpha[:-1], h, weights[:, :-1], places[:, :-1])
            gain = column.alpha[:-1][chosen] * -self._scale(h[chosen]) * weights[:, -1]
            terms[2][chosen] -= gain
            terms[-1][chosen] += gain
        return terms

    def _add(
        self, terms: np.ndarray, chosen: np.ndarray, alpha: np.ndarray, h: np.ndarray, weights: np.ndarray,
        places: np.ndarray,
    ) -> None:  # fmt: skip
        """Add alpha -B(h) sum_k weight_k (estimate_k - estimate_0) / place_k to the terms of estimates 0, 1, ..."""
        for k in range(weights.shape[1]):
            gain = alpha[chosen] * -self._scale(h[chosen]) * weights[:, k] / places[:, k]
            terms[0][chosen] -= gain
            terms[1 + k][chosen] += gain

    def _scale(self, h: Any) -> Any:
        """B(h), of a number or an array."""
        return -h if self.kind == "bh1" else np.expm1(-h)

    def _weights(self, places: np.ndarray, h: np.ndarray) -> np.ndarray:
        """Weights [n, k] of k differences, which make the step exact for estimates polynomial in lambda (eq. 11)."""
        count = places.shape[1]
        if count == 1:
            return np.full_like(places, 0.5)
        phi, factorial, right = np.expm1(-h) / -h - 1, 1.0, []
        for n in range(1, count + 1):
            right.append(phi * factorial / self._scale(h))
            factorial *= n + 1
            phi = phi / -h - 1 / factorial
        rows = np.stack([places**n for n in range(count)], 1)
        return np.linalg.solve(rows, np.stack(right, 1)[..., None])[..., 0]

    def step(
        self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[SolverHistory, Tensor]:
        """Correct x with the new estimate, then predict."""
        middle = 3 + self.order
        if not (isinstance(c[0], float) and c[0] == 1):
            x = blend(c[:middle], (x, *history, x0))
        if self.order == 1:
            y = mix(c[middle], x, c[middle + 1], x0)
        else:
            y = blend(c[middle:], (x, x0, *history[1 : self.order]))
        return (x, x0, *history[1 : self.order]), y
