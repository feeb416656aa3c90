"""Features that two images share: each other's best, and clearly better than the second best."""

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from worldgen.data.measures import ImageMeasures, matches

PLACE = np.array([[3.5, 1.5], [10.5, 2.5], [7.5, 8.5]])


def image(keypoints: np.ndarray, descriptors: np.ndarray) -> ImageMeasures:
    camera = Cameras.from_fov(torch.eye(4, dtype=torch.float64), 50.0, (12, 16))
    return ImageMeasures(camera, torch.zeros(3, 16, 16), keypoints, descriptors, 0.1, 0.5, 0.2)


def test_a_match_is_less_than_four_fifths_as_far_as_the_second_best() -> None:
    """Of three features the other image has two of each, 1 and 1 over the ratio away: 0.7, 0.77 and 0.85."""
    own = 10 * np.eye(128)[:3]
    first, second = (own + np.eye(128)[[n] * 3] * far for n, far in ((90, 1.0), (91, 1.0)))
    second[:, 91] = 1 / np.array([0.7, 0.77, 0.85])
    there = np.concatenate([PLACE + 1, PLACE + 5])
    uv_a, uv_b = matches(image(PLACE, own), image(there, np.concatenate([first, second])))
    assert uv_a.tolist() == PLACE[:2].tolist() and uv_b.tolist() == (PLACE[:2] + 1).tolist()


def test_a_match_is_the_best_of_both() -> None:
    """Two features of the first image have the same best one in the second: the nearer has it."""
    own = np.zeros((2, 128))
    own[0, 0], own[1, 0] = 1.0, 1.4
    other = np.zeros((2, 128))
    other[0, 0], other[1, 5] = 0.9, 50.0
    uv_a, uv_b = matches(image(PLACE[:2], own), image(PLACE[1:], other))
    assert uv_a.tolist() == PLACE[:1].tolist() and uv_b.tolist() == PLACE[1:2].tolist()
