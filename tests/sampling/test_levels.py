"""Levels: what a schedule may be."""

import pytest
import torch

from geometry.errors import InputError
from worldgen.sampling.levels import Levels


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


@pytest.mark.parametrize(
    "matrix",
    [column(1, 0.5, 0), column(0, 0), column(1, 1, 1), column(0.02, 0.02), column(0.6, 0), column(1, 1, 0, 0)],
)
def test_columns_that_are_constant_or_fall_to_0_are_levels(matrix: torch.Tensor) -> None:
    assert len(Levels(matrix)) == len(matrix)


@pytest.mark.parametrize(
    ("matrix", "word"),
    [
        (column(0, 0.5, 0), "rise"),
        (column(1, 0.5, 0.2), "do not reach 0"),
        (column(1, float("nan"), 0), "NaN"),
        (column(1.5, 0), "0..1"),
        (column(0, -0.1), "0..1"),
        (torch.zeros(0, 2, 2), "none empty"),
        (torch.zeros(3, 0, 2), "none empty"),
        (torch.zeros(3, 2), "[rows, frames, modalities]"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_anything_else_is_refused_in_one_line(matrix: torch.Tensor, word: str) -> None:
    with pytest.raises(InputError) as caught:
        Levels(matrix)
    assert word in str(caught.value) and "\n" not in str(caught.value)


def test_one_bad_column_among_good_ones_is_found() -> None:
    matrix = Levels.full_sequence(3, 2, 4).matrix.clone()
    matrix[-1, 2, 1] = 0.1
    with pytest.raises(InputError):
        Levels(matrix)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"steps": -1}, {"steps": 4, "shift": 0.0}, {"steps": 4, "shift": -1.0}]
)
def test_no_steps_or_no_shift_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match="expected"):
        Levels.full_sequence(2, 2, **wrong)


def test_full_sequence_is_one_even_ramp_for_every_column() -> None:
    levels = Levels.full_sequence(3, 2, 4)
    assert torch.equal(levels.matrix, column(1, 0.75, 0.5, 0.25, 0).expand(5, 3, 2))
    assert not levels.still.any()


def test_given_columns_are_0_in_every_row_and_still() -> None:
    known = torch.tensor([[True, False], [False, False]])
    levels = Levels.given(known, 4)
    assert torch.equal(levels.matrix[:, 0, 0], torch.zeros(5))
    assert torch.equal(levels.matrix[:, ~known], Levels.full_sequence(3, 1, 4).matrix[..., 0])
    assert torch.equal(levels.still, known)


def test_a_shift_keeps_both_ends_and_spends_more_steps_at_high_levels() -> None:
    plain, shifted = (Levels.full_sequence(1, 1, 8, shift).matrix.flatten() for shift in (1.0, 3.0))
    assert (shifted[0], shifted[-1]) == (1, 0)
    assert bool((shifted[1:-1] > plain[1:-1]).all())
    assert shifted[4] == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))


def test_printed_levels_have_a_line_a_column_and_a_digit_a_row() -> None:
    text = str(Levels.given(torch.tensor([[True, False]]), 4))
    assert text == "frame 0 modality 0  00000\nframe 0 modality 1  #7520"
