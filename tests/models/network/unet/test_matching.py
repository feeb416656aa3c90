"""Matching: what sources say of hypotheses of depth, and that nothing else changes it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from tests.models.network.unet.small import scene
from tests.models.tiny import awake, posed
from worldgen.models.network.unet.lookup import FrameRays, Sources
from worldgen.models.network.unet.matching import Matching, Prior, source_facts

ON, BEHIND, KNOWN, NEARER, TIME, SEEN = range(6)
HW = (4, 6)
N = HW[0] * HW[1]


def sources_of(known: list[bool], batch: int = 1) -> Sources:
    frames = len(known)
    return Sources.of(torch.tensor([known] * batch), torch.ones(batch, frames, frames, dtype=torch.bool), 8)


def facts_of(own: Tensor, inverse: Tensor, ratio: float = 1.0, known: float = 1.0, seen: float = 1.0) -> Tensor:
    """Facts [6, n] of one source and one frame at n places."""
    shape = (1, 1, 1, 1, len(inverse))
    return source_facts(
        torch.full(shape, ratio), torch.full(shape, seen), inverse.view(1, 1, 1, -1), own.view(shape),
        torch.full(shape, known), torch.full((1, 1, 1), -3.0),
    )[0, 0, :, 0, 0]  # fmt: skip


def test_a_source_says_whether_a_place_is_on_before_or_behind_its_own_surface() -> None:
    """Twice as deep in the source as in the frame, where its surface is at depth 1."""
    found = facts_of(torch.ones(3), torch.tensor([2.0, 4.0, 1.0]), ratio=2.0)
    torch.testing.assert_close(found[ON], torch.exp(-12 * torch.tensor([0.0, 1.0, 0.5])))
    torch.testing.assert_close(found[BEHIND], torch.tensor([0.0, -3.0, 1.5]).tanh())
    torch.testing.assert_close(found[NEARER], torch.full((3,), 2.0).log())
    torch.testing.assert_close(found[TIME], torch.full((3,), 0.75))
    assert found[KNOWN].tolist() == found[SEEN].tolist() == [1.0, 1.0, 1.0]


def test_what_a_source_does_not_know_or_see_it_does_not_say() -> None:
    unknown = facts_of(torch.ones(2), torch.tensor([1.0, 3.0]), known=0.0)
    assert unknown[[ON, BEHIND, KNOWN]].tolist() == [[0, 0]] * 3 and unknown[SEEN].tolist() == [1, 1]
    assert not facts_of(torch.ones(2), torch.tensor([1.0, 3.0]), seen=0.0).any()


def test_at_the_true_depth_of_a_scene_sources_find_the_place_on_their_surface() -> None:
    clip, normalization = scene(2, (24, 32))
    cameras = normalization.normalize(clip.cameras).to(torch.float32)
    inverse = (normalization.signal_from_depth(clip.depth) + 1).float()
    sources = sources_of([True, False])
    rays = FrameRays.of(cameras, sources, (24, 32))
    median = {}
    for off in (0.8, 1.0, 1.25):
        flat = off * inverse.flatten(3)
        places = rays.places(flat)
        own = places.of(sources.of_frames(inverse))[:, :, 0]
        found = source_facts(places.ratio, places.seen, flat, own, torch.ones_like(own), torch.zeros(1, 1, 2))
        shown = (places.seen[0, 0, 1, 0] > 0) & (inverse[0, 1, 0].flatten() > 0.2)
        assert shown.sum() > 300
        median[off] = found[0, 0, :, 1, 0][:, shown].median(-1).values
    assert median[1.0][ON] > 0.8 and abs(median[1.0][BEHIND]) < 0.05
    assert median[0.8][ON] < 0.7 * median[1.0][ON] and median[1.25][ON] < 0.7 * median[1.0][ON]
    assert median[0.8][BEHIND] > 0.1 and median[1.25][BEHIND] < -0.1, "farther is behind, nearer is before"


class Read(Matching):
    """Matching whose score is one of the inputs of its hidden layer."""

    def __init__(self, channels: int, reads: int):
        super().__init__(channels, 1, 1)
        with torch.no_grad():
            for layer in (self.hidden, self.outputs):
                layer.weight.zero_()
                layer.bias.zero_()
            self.hidden.weight[0, reads] = 1.0
            self.outputs.weight[1, 0] = 1.0


def test_with_one_source_and_its_exact_depth_the_surface_is_found_at_the_right_plane() -> None:
    clip, normalization = scene(2, (24, 32))
    cameras = normalization.normalize(clip.cameras).to(torch.float32)
    inverse = (normalization.signal_from_depth(clip.depth) + 1).float()
    planes = torch.linspace(0, 2.4, 25)
    features, known = torch.zeros(1, 2, 1, 24, 32), torch.tensor([1.0, 0.0]).view(1, 2, 1, 1, 1).expand_as(inverse)
    hypotheses = planes[:, None].expand(1, 2, -1, 24 * 32)
    rays = FrameRays.of(cameras, sources_of([True, False]), (24, 32))
    matching = Read(1, reads=2)  # after mean and spread of one channel: the share of what is on the surface
    nothing = torch.zeros(1, 2, 2, 24 * 32)
    _, score = matching(features, Prior(inverse * known, known), rays, hypotheses, nothing, torch.zeros(1, 1, 2))
    found = planes[score[0, 1].argmax(0)]
    error = (found - inverse[0, 1].flatten()).abs()
    seen = score[0, 1].amax(0) > 0.3
    assert seen.float().mean() > 0.6 and (error[seen] < 0.15).float().mean() > 0.85
    torch.testing.assert_close(error[seen].median(), torch.tensor(0.025), atol=0.03, rtol=0)


def test_the_prior_of_each_pixel_says_how_near_its_hypotheses_are() -> None:
    x, cameras, sources = inputs(), posed(1, 4, HW).cameras, sources_of([True, False, False, False])
    rays, nothing = FrameRays.of(cameras, sources, HW), torch.zeros(1, 4, 1, *HW)
    prior = x["prior"][:, :, :, None]
    apart = (x["planes"] - prior[:, :, 0]).abs()
    for reads, expected in ((10, torch.exp(-3 * apart)), (11, torch.exp(-12 * apart)), (12, torch.ones_like(apart))):
        _, score = Read(1, reads)(nothing, Prior(nothing, nothing), rays, x["planes"], x["prior"], torch.zeros(1, 1, 4))
        torch.testing.assert_close(score, torch.nn.functional.silu(prior[:, :, 1] * expected))


@pytest.fixture
def matching() -> Matching:
    return awake(Matching(5, 4, 7))


def inputs(batch: int = 1, frames: int = 4, planes: int = 3) -> dict[str, Tensor]:
    """Everything random: features, depth of frames, hypotheses and priors of pixels."""
    return {
        "features": torch.randn(batch, frames, 5, *HW),
        "inverse": torch.rand(batch, frames, 1, *HW),
        "known": torch.rand(batch, frames, 1, *HW),
        "planes": 2 * torch.rand(batch, frames, planes, N),
        "prior": torch.rand(batch, frames, 2, N),
        "time": torch.rand(batch, frames),
    }


def matched(matching: Matching, cameras: Cameras, sources: Sources, x: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    apart = x["time"][:, None] - sources.of_frames(x["time"])[..., None]
    rays, depth = FrameRays.of(cameras, sources, HW), Prior(x["inverse"], x["known"])
    return matching(x["features"], depth, rays, x["planes"], x["prior"], apart)


def test_hypotheses_are_independent_of_each_other(matching: Matching) -> None:
    cameras, x, sources = posed(1, 4, HW).cameras, inputs(planes=5), sources_of([True, True, False, False])
    out, score = matched(matching, cameras, sources, x)
    order = [3, 0, 4, 2, 1]
    permuted, permuted_score = matched(matching, cameras, sources, {**x, "planes": x["planes"][:, :, order]})
    assert out.shape == (1, 4, 4, 5, N) and score.shape == (1, 4, 5, N)
    torch.testing.assert_close(permuted, out[:, :, :, order])
    torch.testing.assert_close(permuted_score, score[:, :, order])
    assert not torch.allclose(score, permuted_score)


def test_a_source_that_may_not_be_used_changes_nothing(matching: Matching) -> None:
    cameras, x = posed(1, 4, HW).cameras, inputs()
    known = torch.tensor([[True, True, True, False]])
    allowed = torch.ones(1, 4, 4, dtype=torch.bool)
    allowed[:, :, 2] = False
    without = matched(matching, cameras, sources_of([True, True, False, False]), x)
    forbidden = matched(matching, cameras, Sources.of(known, allowed, 8), x)
    for one, other in zip(without, forbidden):
        torch.testing.assert_close(one, other)
    used = matched(matching, cameras, Sources.of(known, torch.ones_like(allowed), 8), x)
    assert not torch.allclose(used[1], without[1])


def test_a_source_that_does_not_see_a_place_changes_nothing_there(matching: Matching) -> None:
    """The third camera stands where the first one does, and looks the other way."""
    cameras, x = posed(1, 4, HW).cameras, inputs()
    pose = cameras.world_from_camera.clone()
    pose[:, 2] = pose[:, 0] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    cameras = replace(cameras, world_from_camera=pose)
    x["planes"][:, 0] *= 0.5
    with_it = matched(matching, cameras, sources_of([True, True, True, False]), x)
    without = matched(matching, cameras, sources_of([True, True, False, False]), x)
    seen = FrameRays.of(cameras, sources_of([False, False, True, False]), HW).places(x["planes"]).seen[0, 0]
    assert not seen[0].any(), "behind it is all that the first frame shows"
    torch.testing.assert_close(with_it[1][0, 0], without[1][0, 0])
    torch.testing.assert_close(with_it[0][0, 0], without[0][0, 0])
    blind = (seen == 0).all(1)
    for frame in range(4):
        torch.testing.assert_close(with_it[1][0, frame][:, blind[frame]], without[1][0, frame][:, blind[frame]])


def test_the_order_of_sources_does_not_matter(matching: Matching) -> None:
    cameras, x, sources = posed(1, 4, HW).cameras, inputs(), sources_of([True, True, True, False])
    turned = Sources(sources.index.flip(1), sources.allowed.flip(2))
    for one, other in zip(matched(matching, cameras, sources, x), matched(matching, cameras, turned, x)):
        torch.testing.assert_close(one, other)


def test_where_nothing_is_seen_only_the_prior_says_anything(matching: Matching) -> None:
    cameras, x = posed(1, 4, HW).cameras, inputs()
    nowhere = Sources.of(torch.zeros(1, 4, dtype=torch.bool), torch.ones(1, 4, 4, dtype=torch.bool), 8)
    first = matched(matching, cameras, nowhere, x)[1]
    other = {**inputs(), "planes": x["planes"], "prior": x["prior"]}
    torch.testing.assert_close(matched(matching, cameras, nowhere, other)[1], first)
    moved = {**x, "prior": x["prior"].flip(-1)}
    assert not torch.allclose(matched(matching, cameras, nowhere, moved)[1], first)
    unknown = x["prior"].clone()
    unknown[:, :, 1] = 0
    flat = matched(matching, cameras, nowhere, {**x, "prior": unknown})[1]
    torch.testing.assert_close(flat, flat[0, 0, 0, 0].expand_as(flat))


def test_fresh_weights_average_all_sources_alike() -> None:
    fresh = Matching(5, 4)
    assert not fresh.weight.weight.any()
    x, facts = torch.rand(1, 3, 5, 2, 2, N), torch.rand(1, 3, 6, 2, 2, N)
    share = fresh._weights(x, facts)
    torch.testing.assert_close(share, share[0, 0, 0, 0, 0].expand_as(share))
