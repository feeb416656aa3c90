"""Levels: what a schedule may be, and what every mode's is."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geometry.errors import InputError
from worldgen.sampling.levels import Levels, latent_frame
from worldgen.sampling.schedules import shifted


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


def test_the_place_where_levels_rise_is_named() -> None:
    matrix = Levels.full_sequence(3, 2, 4).matrix.clone()
    matrix[2, 1, 1] = 0.9
    with pytest.raises(InputError, match=r"frame 1, modality 1, from 0.75 to 0.9 in row 2"):
        Levels(matrix)


def test_one_bad_column_among_good_ones_is_found_unless_another_stage_follows() -> None:
    matrix = Levels.full_sequence(3, 2, 4).matrix.clone()
    matrix[-1, 2, 1] = 0.1
    with pytest.raises(InputError):
        Levels(matrix)
    assert Levels(matrix, partial=True).matrix[-1, 2, 1] == pytest.approx(0.1)


def test_full_sequence_is_one_even_noise_schedule_for_every_column() -> None:
    levels = Levels.full_sequence(3, 2, 4)
    assert torch.equal(levels.matrix, column(1, 0.75, 0.5, 0.25, 0).expand(5, 3, 2))
    assert not levels.still.any()


def test_given_columns_are_0_in_every_row_and_still() -> None:
    known = torch.tensor([[True, False], [False, False]])
    levels = Levels.given(known, 4)
    assert torch.equal(levels.matrix[:, 0, 0], torch.zeros(5))
    assert torch.equal(levels.matrix[:, ~known], Levels.full_sequence(3, 1, 4).matrix[..., 0])
    assert torch.equal(levels.still, known)


def test_a_custom_noise_schedule_is_taken_as_it_is() -> None:
    assert torch.equal(Levels.full_sequence(2, 1, shifted(5, 3.0)).matrix[:, 0, 0], shifted(5, 3.0).float())


def lines(levels: Levels) -> list[str]:
    return [line.split("  ")[1] for line in str(levels).splitlines()]


def test_the_modes_look_as_they_should() -> None:
    """One line a frame, one digit a row; # is 1."""
    assert lines(Levels.autoregressive(4, 1, 2, chunk=2)) == ["#5000", "#5000", "###50", "###50"]
    assert lines(Levels.rolling(3, 1, 4, lag=2)) == ["#75200000", "###752000", "#####7520"]
    assert lines(Levels.keyframes(6, 1, 1, (4, 2))) == ["#000", "###0", "##00", "###0", "#000", "#000"]
    assert lines(Levels.keyframes(4, 1, 1, [[0, 3], [1]])) == ["#000", "##00", "###0", "#000"]
    assert lines(Levels.temporal_super_resolution(4, 1, 2, 2)) == ["000", "#50", "000", "#50"]
    assert lines(Levels.refine(2, 1, 2, start=0.6)) == ["630", "630"]
    assert lines(Levels.by_modality(1, (2, 1, 0), 2)) == ["###50", "#5000", "00000"]


def test_what_is_given_takes_no_time() -> None:
    known = torch.tensor([[True], [True], [False], [False]])
    assert lines(Levels.autoregressive(4, 1, 2, known=known)) == ["00000", "00000", "#5000", "###50"]
    assert lines(Levels.keyframes(4, 1, 2, (3,), known=torch.tensor([[True], [False], [False], [True]])))[1] == "#50"


def test_stabilized_history_is_seen_at_its_level() -> None:
    levels = Levels.stabilized(torch.tensor([[True], [False]]), 2)
    assert levels.matrix[:, 0, 0].tolist() == pytest.approx([0.02] * 3)
    assert levels.still.flatten().tolist() == [True, False]


FRAMES, MODALITIES, STEPS = st.integers(1, 40), st.integers(1, 5), st.integers(1, 12)


@st.composite
def any_mode(draw: st.DrawFn) -> tuple[str, Levels, torch.Tensor, int]:
    """A constructor's name, its levels, what is known, and the steps of a noise schedule."""
    frames, modalities, steps = draw(FRAMES), draw(MODALITIES), draw(STEPS)
    bits = draw(st.lists(st.booleans(), min_size=frames * modalities, max_size=frames * modalities))
    known = torch.tensor(bits).view(frames, modalities)
    if bool(known.all()):
        known[0, 0] = False
    name = draw(
        st.sampled_from(["full", "given", "autoregressive", "rolling", "keyframes", "super", "refine", "turns"])
    )
    none = torch.zeros_like(known)
    if name == "full":
        return name, Levels.full_sequence(frames, modalities, steps), none, steps
    if name == "given":
        return name, Levels.given(known, steps), known, steps
    if name == "autoregressive":
        return name, Levels.autoregressive(frames, modalities, steps, draw(st.integers(1, 9)), known), known, steps
    if name == "rolling":
        return name, Levels.rolling(frames, modalities, steps, draw(st.integers(1, steps)), known), known, steps
    if name == "keyframes":
        strides = sorted(draw(st.sets(st.integers(1, 16), max_size=4)), reverse=True)
        most = draw(st.none() | st.integers(1, 9))
        levels = Levels.keyframes(frames, modalities, steps, strides, known, most=most)
        moving = (levels.matrix.diff(dim=0) != 0).any(-1).sum(1)
        assert most is None or int(moving.max()) <= most
        return name, levels, known, steps
    if name == "super":
        stride = draw(st.integers(2, 8))
        every = (torch.arange(frames)[:, None] % stride == 0).expand(-1, modalities)
        return name, Levels.temporal_super_resolution(frames, modalities, steps, stride), every, steps
    if name == "refine":
        return name, Levels.refine(frames, modalities, steps, draw(st.floats(0.05, 1)), known), known, steps
    turns = draw(st.lists(st.integers(0, 4), min_size=modalities, max_size=modalities))
    given_ones = (torch.tensor(turns) == 0).expand(frames, -1)
    return name, Levels.by_modality(frames, turns, steps), given_ones, steps


@given(any_mode())
def test_every_mode_is_made_of_whole_noise_schedules_and_of_what_is_given(made) -> None:
    name, levels, known, steps = made
    matrix = levels.matrix
    assert bool((matrix[:, known] == 0).all()), "what is given is at 0"
    moving = matrix[:, ~known]
    if moving.shape[1]:
        assert bool((moving[-1] == 0).all()) and bool((moving[0] > 0).all())
        changes = moving.diff(dim=0) != 0
        assert bool((changes.sum(0) == steps).all()), "each column makes every step of its noise schedule"
        first, last = changes.float().argmax(0), len(changes) - changes.flip(0).float().argmax(0)
        assert bool((last - first == steps).all()), "without a pause"
        assert bool(changes.any(1).all()), "no row in which nothing moves"
        assert bool((moving[0] == (1 if name != "refine" else moving[0].max())).all())
    if name in ("autoregressive", "rolling"):
        late = matrix.clone()
        late[:, known] = float("nan")
        for m in range(matrix.shape[2]):
            kept = matrix[:, ~known[:, m], m]
            assert bool((kept.diff(dim=1) >= 0).all()), "later frames are never ahead"
    if name == "autoregressive":
        chunks = ((moving > 0) & (moving < 1)).any(1)
        assert len(chunks) == len(matrix)


@given(any_mode())
def test_levels_survive_json_bit_for_bit(made) -> None:
    again = Levels.from_json(made[1].to_json())
    assert torch.equal(again.matrix, made[1].matrix) and again.partial == made[1].partial


@given(frames=st.integers(1, 40), group=st.integers(1, 8))
def test_an_image_ends_a_latent_frame_or_is_refused(frames: int, group: int) -> None:
    images = 1 + (frames - 1) * group
    for image in range(images):
        if image % group:
            with pytest.raises(InputError, match=f"keyframe {image} with {group} images"):
                latent_frame(image, group, frames)
        else:
            assert latent_frame(image, group, frames) == image // group
    with pytest.raises(InputError, match="expected"):
        latent_frame(images + group - 1 if group == 1 else images - 1 + group, group, frames)


def test_keyframes_are_named_in_images_where_a_codec_groups_them() -> None:
    assert lines(Levels.keyframes(4, 1, 1, [[0, 8]], group=4)) == ["#00", "##0", "#00", "##0"]
    with pytest.raises(InputError, match="keyframe 6 with 4 images in a latent frame"):
        Levels.keyframes(4, 1, 1, [[0, 6]], group=4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Levels.full_sequence(2, 2, 0),
        lambda: Levels.full_sequence(0, 2, 4),
        lambda: Levels.autoregressive(4, 1, 3, chunk=0),
        lambda: Levels.rolling(4, 1, 3, lag=0),
        lambda: Levels.rolling(4, 1, 3, lag=4),
        lambda: Levels.keyframes(4, 1, 3, (2, 4)),
        lambda: Levels.keyframes(4, 1, 3, [[0, 4]]),
        lambda: Levels.keyframes(4, 1, 3, (2,), most=0),
        lambda: Levels.keyframes(0, 1, 3, (2,)),
        lambda: Levels.keyframes(4, 1, 3, ([0], 2)),  # type: ignore[arg-type]
        lambda: Levels.autoregressive(0, 1, 3),
        lambda: Levels.by_modality(0, (1,), 3),
        lambda: Levels.full_sequence(2, 1, 2.5),  # type: ignore[arg-type]
        lambda: Levels.given(torch.zeros(3, dtype=torch.bool), 3),
        lambda: Levels.temporal_super_resolution(4, 1, 3, 1),
        lambda: Levels.refine(4, 1, 3, start=0.0),
        lambda: Levels.stabilized(torch.tensor([[True]]), 3, history=1.0),
        lambda: Levels.by_modality(4, (1, -1), 3),
        lambda: Levels.autoregressive(4, 1, 3, known=torch.zeros(3, 1, dtype=torch.bool)),
        lambda: Levels.from_json("{}"),
        lambda: Levels.from_json("[1]"),
        lambda: Levels.from_json("no"),
        lambda: Levels.from_json(json.dumps({"levels": [[[1.0]], [[2.0]]]})),
        lambda: Levels.full_sequence(2, 2, 3).plot(["rgb"]),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_impossible_modes_are_refused_in_one_line(wrong) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        wrong()
    assert "\n" not in str(caught.value)


def test_printed_levels_have_a_line_a_column_and_a_digit_a_row() -> None:
    text = str(Levels.given(torch.tensor([[True, False]]), 4))
    assert text == "frame 0 modality 0  00000\nframe 0 modality 1  #7520"


def test_a_plot_is_light_where_frames_are_known_and_dark_where_they_are_not() -> None:
    levels = Levels.autoregressive(2, 2, 4)
    image = levels.plot(["rgb", "depth"])
    assert image.shape[0] == 3 and bool(((image >= 0) & (image <= 1)).all())
    height = image.shape[1] // 2
    first, second = image[:, 18], image[:, 28]  # lines of the first block, below its name
    assert first[:, 2].mean() < 0.3 and first[:, -2].mean() > 0.8
    middle = image.shape[2] // 2
    assert first[:, middle].mean() > 0.8 and second[:, middle - image.shape[2] // 9].mean() < 0.5
    assert torch.equal(image[:, 15:height], image[:, height + 15 :])


def test_thinned_levels_go_the_same_way_in_fewer_steps() -> None:
    known = torch.tensor([[True, False], [False, False]])
    levels = Levels.given(known, 20)
    for steps, rows in ((1, [0, 20]), (3, [0, 7, 13, 20]), (4, [0, 5, 10, 15, 20]), (20, list(range(21)))):
        thinned = levels.thinned(steps)
        assert torch.equal(thinned.matrix, levels.matrix[rows]) and torch.equal(thinned.still, levels.still)
    assert torch.equal(levels.thinned(99).matrix, levels.matrix)
    shift = Levels.given(known, shifted(6, 3.0))
    assert torch.equal(shift.thinned(2).matrix, shift.matrix[[0, 3, 6]])


def test_thinned_levels_move_no_more_at_once() -> None:
    """Each turn of frames is thinned by itself, and what rolls keeps its rows."""
    levels = Levels.autoregressive(4, 1, 8, 2)
    thinned = levels.thinned(2)
    assert thinned.matrix[:, [0, 2], 0].T.tolist() == [[1, 0.5, 0, 0, 0], [1, 1, 1, 0.5, 0]]
    rolling = Levels.rolling(4, 1, 4, 1)
    assert torch.equal(rolling.thinned(1).matrix, rolling.matrix)


def test_thinned_levels_may_end_where_another_stage_begins() -> None:
    partial = Levels(torch.linspace(1, 0.4, 7)[:, None, None], partial=True)
    assert partial.thinned(2).matrix.flatten().tolist() == pytest.approx([1, 0.7, 0.4]) and partial.thinned(2).partial
    still = Levels(torch.ones(9, 2, 1))
    assert bool(still.thinned(1).still.all()) and len(still.thinned(1)) == 2
    with pytest.raises(InputError, match="thinned to 0 steps; expected 1 or more"):
        partial.thinned(0)
