"""Which frames are generated together: evenly spaced anchors first, then groups between finished neighbors."""

from dataclasses import dataclass

import torch

from geometry.camera.cameras import Cameras
from worldgen.core.view_distance import angle_plus_distance, farthest_first


@dataclass(frozen=True)
class Call:
    """One call of the sampler: frame numbers it is given, and frame numbers it makes."""

    known: tuple[int, ...]
    new: tuple[int, ...]


def plan_calls(cameras: Cameras, known: list[int], limit: int, scale: float) -> list[Call]:
    """Calls that make every frame of `cameras` [n] that is not known, each of at most `limit` frames.

    Frames are numbered in path order. The first call makes evenly spaced anchors from known frames that are far apart;
    each later one a run of up to limit / 2 neighbors from the finished frames nearest to them.
    """
    todo = [i for i in range(len(cameras)) if i not in set(known)]
    if not todo:
        return []
    distance = angle_plus_distance(cameras, cameras, scale)
    first = [known[i] for i in farthest_first(distance[known][:, known], limit // 2)] if known else []
    count = min(limit - len(first), len(todo))
    anchors = [todo[(2 * k + 1) * len(todo) // (2 * count)] for k in range(count)]
    calls = [Call(tuple(first), tuple(anchors))]
    finished = known + anchors
    todo = [i for i in todo if i not in set(anchors)]
    while todo:
        group, todo = todo[: limit // 2], todo[limit // 2 :]
        order = distance[group][:, finished].amin(0).argsort(stable=True)[: limit - len(group)]
        calls.append(Call(tuple(finished[int(i)] for i in order), tuple(group)))
        finished = finished + group
    return calls


def uncovered(calls: list[Call], known: list[int], limit: int) -> list[Call]:
    """Calls that make nothing new but look at the known frames no other call has seen, for their depth."""
    seen = {i for call in calls for i in call.known}
    rest = [i for i in known if i not in seen]
    return [Call(tuple(rest[i : i + limit]), ()) for i in range(0, len(rest), limit)]


def as_batch(cameras: Cameras, ids: tuple[int, ...]) -> Cameras:
    """Cameras [1, k] of the chosen frames."""
    return cameras[torch.tensor(ids, dtype=torch.long)][None]
