"""Which frames are generated together, and from which."""

import torch

from geometry.camera.cameras import Cameras
from geometry.trajectory.paths import orbit
from worldgen.pipelines.view_schedule import schedule_depth, schedule_path, schedule_singles


def ring(frames: int, arc_deg: float = 90.0) -> Cameras:
    return Cameras.from_fov(orbit(torch.zeros(3), 3.0, 20.0, frames, arc_deg=arc_deg), 50.0, (8, 8))


def test_a_view_by_itself_is_given_the_four_nearest_frames_and_no_more() -> None:
    (request,) = schedule_singles(ring(10), [4], [0, 1, 2, 3, 5, 6, 7, 8, 9], limit=8, scale=3.0)
    assert request.new == (4,) and set(request.known) == {2, 3, 5, 6}
    (small,) = schedule_singles(ring(10), [4], [0, 1, 2, 3, 5], limit=3, scale=3.0)
    assert set(small.known) == {3, 5}


def test_a_path_begins_with_anchors_and_every_frame_is_made_once_from_finished_ones() -> None:
    requests = schedule_path(ring(30, 360.0), list(range(24)), [25, 27], limit=8, scale=3.0)
    assert requests[0].known == (25, 27) and requests[0].new == (2, 6, 10, 14, 18, 22)
    finished = {25, 27}
    for request in requests:
        assert set(request.known) <= finished and not set(request.new) & finished
        assert len(request.known) + len(request.new) <= 8
        finished |= set(request.new)
    assert finished == {*range(24), 25, 27}


def test_given_frames_that_no_request_includes_get_one_for_their_depth() -> None:
    requests = schedule_singles(ring(10), [4], [0, 1, 2, 3, 5], limit=8, scale=3.0)
    (depth,) = schedule_depth(requests, [0, 1, 2, 3, 5], limit=8)
    assert depth.new == () and set(depth.known) == {0, 1, 2, 3, 5} - set(requests[0].known)
