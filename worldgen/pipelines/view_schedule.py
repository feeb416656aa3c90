"""Which frames are generated together: evenly spaced anchors first, then groups between finished neighbors."""

from dataclasses import dataclass

from geometry.camera.cameras import Cameras
from worldgen.core.view_distance import angle_plus_distance, farthest_first

NEAREST = 4  # given frames of a view by itself: with more, tabletops (seed 1) gain nothing and lose all round


@dataclass(frozen=True)
class Request:
    """One call of the sampler: numbers of the frames it is given, and of the frames it generates."""

    known: tuple[int, ...]
    new: tuple[int, ...]


def schedule(
    cameras: Cameras, path: list[int], singles: list[int], known: list[int], limit: int, scale: float
) -> list[Request]:
    """Requests for a path, then for frames by themselves (`singles`), then for the depth of given frames that are in
    none of them; arguments as of `schedule_path`."""
    requests = schedule_path(cameras, path, known, limit, scale)
    requests += schedule_singles(cameras, singles, known, limit, scale)
    return requests + schedule_depth(requests, known, limit)


def schedule_path(cameras: Cameras, path: list[int], known: list[int], limit: int, scale: float) -> list[Request]:
    """Requests that generate every frame of a path, each of at most `limit` frames.

    The first generates evenly spaced anchors from known frames that are far apart; each later one a run of up to
    limit / 2 neighbors from the finished frames nearest to them.

    Args:
        cameras: Of all frames [n].
        path: Numbers of the frames to generate, in path order.
        known: Numbers of the given frames.
        limit: Frames of one call.
        scale: The scene scale, metres.
    """
    if not path:
        return []
    order = [*path, *known]
    distance = angle_plus_distance(cameras[order], cameras[order], scale)
    todo, given = list(range(len(path))), list(range(len(path), len(order)))
    first = [given[i] for i in farthest_first(distance[given][:, given], limit // 2)] if given else []
    count = min(limit - len(first), len(todo))
    anchors = [todo[(2 * k + 1) * len(todo) // (2 * count)] for k in range(count)]
    groups = [(first, anchors)]
    finished = given + anchors
    todo = [i for i in todo if i not in set(anchors)]
    while todo:
        group, todo = todo[: limit // 2], todo[limit // 2 :]
        near = distance[group][:, finished].amin(0).argsort(stable=True)[: limit - len(group)]
        groups.append(([finished[int(i)] for i in near], group))
        finished = finished + group
    return [Request(tuple(order[i] for i in seen), tuple(order[i] for i in new)) for seen, new in groups]


def schedule_singles(cameras: Cameras, new: list[int], known: list[int], limit: int, scale: float) -> list[Request]:
    """A request for each of some frames, by itself, from up to four given frames nearest to it; arguments as of
    `schedule_path`."""
    requests = []
    for frame in new:
        distance = angle_plus_distance(cameras[frame][None], cameras[known], scale)[0]
        nearest = distance.argsort(stable=True)[: min(limit - 1, NEAREST)]
        requests.append(Request(tuple(known[int(i)] for i in nearest), (frame,)))
    return requests


def schedule_depth(requests: list[Request], known: list[int], limit: int) -> list[Request]:
    """Requests that generate nothing new but estimate the depth of the given frames that no other request includes."""
    seen = {i for request in requests for i in request.known}
    rest = [i for i in known if i not in seen]
    return [Request(tuple(rest[i : i + limit]), ()) for i in range(0, len(rest), limit)]
