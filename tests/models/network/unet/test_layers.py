"""Parts of the second stage: they begin as the identity, and time is mixed with the right neighbors."""

from dataclasses import replace

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from tests.models.tiny import awake, posed
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.attention import token_positions
from worldgen.models.network.unet.layers import Residual, TemporalMixing, ViewAttention, conv, neighbors_in_time


def filmed(view: list[int], time_s: list[float]) -> Cameras:
    """Frames [1, f] of cameras at times."""
    cameras = posed(1, len(view)).cameras
    return replace(cameras, view=torch.tensor([view]), time_s=torch.tensor([time_s]))


def neighbors(cameras: Cameras, order: list[int] | None = None) -> tuple[list[int | None], list[int | None]]:
    """The frame before and the one after each."""
    found = neighbors_in_time(cameras, None if order is None else torch.tensor([order]))[0]
    assert bool(((found == 0) | (found == 1)).all()) and bool((found.sum(-1) <= 1).all())
    before, after = ([int(row.argmax()) if row.any() else None for row in side] for side in found)
    return before, after


def test_a_convolution_keeps_the_size_or_divides_it() -> None:
    x = torch.rand(2, 3, 8, 12)
    assert conv(3, 5)(x).shape == conv(3, 5, 1)(x).shape == (2, 5, 8, 12)
    assert conv(3, 5, stride=2)(x).shape == (2, 5, 4, 6)
    assert not conv(3, 5, zero=True)(x).any()


def test_residuals_begin_as_the_identity_and_levels_modulate_them() -> None:
    x, level = torch.randn(4, 16, 6, 6), torch.randn(4, 10)
    fresh = Residual(16, 10)
    assert torch.equal(fresh(x, level), x) and torch.equal(Residual(16)(x), x)
    block = awake(Residual(16, 10))
    assert not torch.allclose(block(x, level), block(x, level.flip(0))) and not torch.allclose(block(x, level), x)
    alone = block(x[2:3], level[2:3])
    torch.testing.assert_close(block(x, level)[2:3], alone)


def test_neighbors_are_the_nearest_in_time_of_the_same_physical_camera() -> None:
    cameras = filmed([0, 0, 1, 0, 1], [2.0, 0.5, 0.6, 1.0, 5.0])
    assert neighbors(cameras) == ([3, None, None, 1, 2], [None, 3, 4, 0, None])


def test_frames_of_the_same_moment_are_no_neighbors() -> None:
    assert neighbors(filmed([0, 0, 0], [1.0, 1.0, 1.0])) == ([None] * 3, [None] * 3)
    assert neighbors(filmed([0], [1.0])) == ([None], [None])


def test_later_chunks_of_a_causal_order_are_no_neighbors() -> None:
    cameras = filmed([0, 0, 0, 0], [0.0, 1.0, 2.0, 3.0])
    assert neighbors(cameras) == ([None, 0, 1, 2], [1, 2, 3, None])
    assert neighbors(cameras, [0, 0, 1, 1]) == ([None, 0, 1, 2], [1, None, 3, None])
    assert neighbors(cameras, [0, 1, 2, 3]) == ([None, 0, 1, 2], [None] * 4)
    backwards = neighbors(cameras, [3, 2, 1, 0])
    assert backwards == ([None] * 4, [1, 2, 3, None])


def test_mixing_begins_as_the_identity_and_takes_up_before_and_after() -> None:
    around = neighbors_in_time(filmed([0, 0, 0, 1], [0.0, 1.0, 2.0, 1.0]), None)
    x = torch.randn(4, 8, 3, 3)
    assert torch.equal(TemporalMixing(8)(x, around), x)
    mixing = awake(TemporalMixing(8))
    base = mixing(x, around)
    assert torch.equal(base[3], x[3]), "a frame without neighbors stays as it is"
    changed = x.clone()
    changed[0] = torch.randn(8, 3, 3)
    moved = [not torch.allclose(a, b) for a, b in zip(mixing(changed, around), base)]
    assert moved == [True, True, False, False]


def test_before_and_after_have_weights_of_their_own() -> None:
    around = neighbors_in_time(filmed([0, 0], [0.0, 1.0]), None)
    x, mixing = torch.randn(2, 8, 3, 3), awake(TemporalMixing(8))
    for parameter in (*mixing.after.parameters(), *list(mixing.before.parameters())[1:]):
        torch.nn.init.zeros_(parameter)
    found = mixing(x, around)
    assert torch.equal(found[0], x[0]), "the first has one after it only"
    h = torch.nn.functional.silu(mixing.norm(x))
    torch.testing.assert_close(found[1], x[1] + mixing.before(h[:1])[0])


def test_clips_of_a_batch_are_mixed_each_by_itself() -> None:
    one, other = (neighbors_in_time(filmed([0, 0], times), None) for times in ([0.0, 1.0], [1.0, 1.0]))
    x, mixing = torch.randn(4, 8, 3, 3), awake(TemporalMixing(8))
    both = mixing(x, torch.cat([one, other]))
    torch.testing.assert_close(both[:2], mixing(x[:2], one))
    assert torch.equal(both[2:], x[2:])


def attended(attention: ViewAttention, x: Tensor, conditioning: Conditioning, mask: Tensor | None = None) -> Tensor:
    return attention(x, token_positions(conditioning, (2, 3), 8, True), mask, None)


def test_attention_begins_as_the_identity_and_joins_all_frames_of_a_clip() -> None:
    conditioning, x = posed(2, 3), torch.randn(6, 16, 2, 3)
    assert torch.equal(attended(ViewAttention(16, 2, 0), x, conditioning), x)
    attention = awake(ViewAttention(16, 2, 0))
    base, changed = attended(attention, x, conditioning), x.clone()
    changed[1] = torch.randn(16, 2, 3)
    moved = [not torch.allclose(a, b) for a, b in zip(attended(attention, changed, conditioning), base)]
    assert moved == [True, True, True, False, False, False]


def test_attention_obeys_its_mask() -> None:
    conditioning, x, attention = posed(1, 2), torch.randn(2, 16, 2, 3), awake(ViewAttention(16, 2, 0))
    frame = torch.arange(12) // 6
    mask = (frame[:, None] >= frame)[None, None]
    base, changed = attended(attention, x, conditioning, mask), x.clone()
    changed[1] = torch.randn(16, 2, 3)
    moved = [not torch.equal(a, b) for a, b in zip(attended(attention, changed, conditioning, mask), base)]
    assert moved == [False, True]


def test_attention_reads_text_that_is_there() -> None:
    conditioning, x, attention = posed(1, 2), torch.randn(2, 16, 2, 3), awake(ViewAttention(16, 2, 5))
    positions = token_positions(conditioning, (2, 3), 8, True)
    text, there = torch.randn(1, 4, 5), torch.tensor([[True, True, False, False]])
    base = attention(x, positions, None, (text, there))
    other = text.clone()
    other[:, 2:] = 7.0
    assert torch.equal(attention(x, positions, None, (other, there)), base), "padding says nothing"
    other[:, 0] = 7.0
    assert not torch.allclose(attention(x, positions, None, (other, there)), base)
