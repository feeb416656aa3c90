"""Operators against dense matrices and plain sums, and restoration against the Gaussian oracle."""

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from geometry.errors import InputError
from worldgen.sampling.levels import Levels
from worldgen.sampling.oracles import Gaussian, blank
from worldgen.sampling.process import Flow
from worldgen.sampling.restoration import (
    Blur,
    Downsample,
    Gray,
    Inpaint,
    LinearOperator,
    consistent,
    displayable,
    level_of_noise,
    measurement_residual,
    project,
)
from worldgen.sampling.sampler import sample
from worldgen.sampling.solvers import Euler

FRAMES, HW = 3, (12, 16)
MODALITIES = {"rgb": 3, "depth": 1}


def random_mask() -> Tensor:
    """Of each frame other pixels, of the last one none."""
    known = torch.rand(FRAMES, 1, *HW, generator=torch.Generator().manual_seed(0)) < 0.4
    known[-1] = False
    return known


OPERATORS: dict[str, LinearOperator] = {
    "inpainting": Inpaint(random_mask()),
    "super-resolution": Downsample(4),
    "blur": Blur.gaussian(1.2),
    "box blur": Blur(torch.full((3, 1), 1 / 3)),
    "grey": Gray(torch.tensor([False, True, False])),
}
LEAST_NORM = [name for name in OPERATORS if name != "grey"]


def images() -> Tensor:
    """Two clips of noise, in float64."""
    return torch.rand(2, FRAMES, 3, *HW, dtype=torch.float64)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_pseudo_inverse_is_one(name: str) -> None:
    operator, x = OPERATORS[name], images()
    y = operator.apply(x)
    back = operator.pseudo_inverse(y)
    assert torch.allclose(operator.apply(back), y, atol=1e-9), "A A+ A = A"
    assert torch.allclose(operator.pseudo_inverse(operator.apply(back)), back, atol=1e-9), "A+ A A+ = A+"
    assert not torch.allclose(back, x, atol=1e-2), "it does lose something"


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_are_linear(name: str) -> None:
    operator, x, z = OPERATORS[name], images(), images()
    y, w = operator.apply(x), operator.apply(z)
    assert torch.allclose(operator.apply(2 * x - 3 * z), 2 * y - 3 * w)
    inverse = operator.pseudo_inverse
    assert torch.allclose(inverse(2 * y - 3 * w), 2 * inverse(y) - 3 * inverse(w), atol=1e-9)


@pytest.mark.parametrize("name", LEAST_NORM)
def test_projection_is_the_nearest_image_with_the_measurement(name: str) -> None:
    operator, truth, x = OPERATORS[name], images(), images()
    y = operator.apply(truth)
    nearest = project(operator, y, x)
    assert measurement_residual(operator, y, nearest) < 1e-9
    unseen = truth - operator.pseudo_inverse(y)
    assert abs(float(((nearest - x) * unseen).sum())) < 1e-9, "the change is orthogonal to what A can't see"


def test_gray_is_luma_and_its_inverse_keeps_differences_of_channels() -> None:
    operator, x = OPERATORS["grey"], images()
    red = torch.zeros(FRAMES, 3, *HW)
    red[:, 0] = 1
    measured = operator.apply(red)
    assert torch.allclose(measured[[0, 2]], torch.tensor(0.2126)) and torch.equal(measured[1], red[1])
    moved = project(operator, operator.apply(images()), x)[:, [0, 2]] - x[:, [0, 2]]
    assert torch.allclose(moved, moved[:, :, :1].expand_as(moved))


def test_small_images_are_means_of_blocks() -> None:
    x = images()
    y = Downsample(4).apply(x)
    assert torch.allclose(y[1, 2, 0, 1, 3], x[1, 2, 0, 4:8, 12:16].mean())


def mirrored(x: Tensor, kernel: Tensor) -> Tensor:
    """The blur by definition: padded as in a mirror (the border pixel twice), then summed."""
    down, across = kernel.shape[0] // 2, kernel.shape[1] // 2
    x = torch.cat([x[..., :down, :].flip(-2), x, x[..., x.shape[-2] - down :, :].flip(-2)], -2)
    x = torch.cat([x[..., :across].flip(-1), x, x[..., x.shape[-1] - across :].flip(-1)], -1)
    return F.conv2d(x.flatten(0, -3)[:, None], kernel.to(x)[None, None]).unflatten(0, x.shape[:-2])[..., 0, :, :]


def test_blur_and_its_inverse_are_those_of_the_dense_matrix() -> None:
    kernel = torch.tensor([[1.0, 2, 1], [2, 6, 2], [1, 2, 1]])
    for blur in (Blur.gaussian(1.0, 0.02), Blur(kernel / kernel.sum(), 0.02)):
        dense = mirrored(torch.eye(48, dtype=torch.float64).reshape(48, 6, 8), blur.kernel).flatten(1).T
        left, values, right = torch.linalg.svd(dense)
        values = torch.where(values < 0.02 * values[0], 0.0, values)
        x = torch.rand(1, 3, 6, 8, dtype=torch.float64)
        assert torch.allclose(blur.apply(x).flatten(2), x.flatten(2) @ (left * values @ right).T)
        assert torch.allclose(blur.apply(x), mirrored(x, blur.kernel), atol=0.02), "within what it leaves out"
        inverse = torch.linalg.pinv(left * values @ right, rtol=1e-6)
        assert torch.allclose(blur.pseudo_inverse(x).flatten(2), x.flatten(2) @ inverse.T)


def test_guesses_are_the_obvious_answers() -> None:
    known = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    known[..., 3] = False
    x = torch.rand(1, 3, 4, 4)
    filled = Inpaint(known).guess(torch.where(known, x, torch.nan))
    assert torch.equal(filled, x[..., [0, 1, 2, 2]])
    flat = torch.full((2, 3, 3, 3), 0.3)
    assert torch.allclose(Downsample(4).guess(flat), torch.full((2, 3, 12, 12), 0.3))


def test_displayable_images_are_in_range_and_still_agree() -> None:
    truth = images()[:1].float().square()  # some near the border of the range
    for operator in OPERATORS.values():
        y = operator.apply(truth)
        rgb = displayable(operator, y, truth + 0.1 * torch.randn_like(truth))
        assert bool(((rgb >= 0) & (rgb <= 1)).all())
        assert measurement_residual(operator, y, rgb) < 1e-3
    halves, impossible = Downsample(2), torch.full((1, 3, 2, 2), 1.5)
    assert measurement_residual(halves, impossible, displayable(halves, impossible, torch.rand(1, 3, 4, 4))) == 0.5


def decode(latent: Tensor) -> dict[str, Tensor]:
    return {"rgb": latent[:, :, :3], "depth": latent[:, :, 3:]}


def encode(signals: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([signals["rgb"], signals["depth"]], 2)


def inpainted(gaussian: Gaussian) -> tuple[Inpaint, Tensor]:
    """The colors of the first two of three frames are known, and a draw of them."""
    known = torch.tensor([True, True, False])[:, None, None, None]
    return Inpaint(known), gaussian.framed(torch.randn(1, len(gaussian.mean), dtype=torch.float64))[:, :, :3]


@pytest.mark.parametrize("level", [0.5, 0.05])
def test_repeated_at_one_level_it_ends_at_the_mean_given_the_measurement(level: float) -> None:
    """x0 -> consistent(E[x0 | x = (1 - t) x0]) stands still where the precision of C + s^2 I (s the noise of level t)
    times the offset from the mean is 0 in everything unmeasured: at the exact mean under C + s^2 I given y."""
    gaussian = Gaussian.random(FRAMES, MODALITIES, Flow())
    operator, values = inpainted(gaussian)
    y = operator.apply(values)
    count = len(gaussian.mean)
    denoiser = consistent(gaussian, operator, y, decode, encode)
    start = gaussian.framed(torch.cat([torch.zeros(1, count), torch.eye(count)]).double())
    levels = torch.full((count + 1, FRAMES, 2), level, dtype=torch.float64)
    image = denoiser((1 - level) * start, levels, blank(count + 1, FRAMES)).flatten(1)
    matrix = (image[1:] - image[0]).T  # the step is affine: these and its image of 0 say all
    assert float(torch.linalg.eigvals(matrix).abs().max()) < 1, "so it does end there, from anywhere"
    fixed = torch.linalg.solve(torch.eye(count) - matrix, image[0])
    noised = gaussian.covariance + (level / (1 - level)) ** 2 * torch.eye(count)
    known = torch.tensor([True, True, True, False] * 2 + [False] * 4)
    full = torch.cat([values, values[:, :, :1]], 2).flatten()
    mean, _ = Gaussian(gaussian.mean, noised, FRAMES, MODALITIES, Flow()).conditioned(known, full)
    assert torch.allclose(fixed, mean, atol=1e-9)


def test_what_is_sampled_has_the_measurement_whatever_the_noise() -> None:
    gaussian = Gaussian.random(FRAMES, MODALITIES, Flow())
    operator, values = inpainted(gaussian)
    y = operator.apply(values)
    noise = gaussian.framed(torch.randn(5, len(gaussian.mean), dtype=torch.float64))
    denoiser = consistent(gaussian, operator, y, decode, encode)
    levels = Levels.full_sequence(FRAMES, 2, 4)
    *_, last = sample(denoiser, torch.zeros_like(noise), noise, levels, blank(5, FRAMES), Euler())
    assert measurement_residual(operator, y.expand(5, -1, -1, -1, -1), last.x[:, :, :3]) < 1e-12
    assert float(last.x[:, 2].std(0).min()) > 1e-3, "the rest differs from draw to draw"


def test_a_noised_image_is_the_state_at_its_level() -> None:
    x, noise, sigma = images(), torch.randn(2, FRAMES, 3, *HW, dtype=torch.float64), 0.13
    level = torch.tensor(level_of_noise(sigma, Flow()), dtype=torch.float64)
    state = Flow().add_noise(2 * x - 1, noise, level)
    assert torch.allclose(state, (1 - level) * (2 * (x + sigma * noise) - 1))


def test_bad_operators_and_sizes_are_said() -> None:
    x = images()
    for act, said in (
        (lambda: Downsample(5).apply(x), "images of 16x12 pixels by 5"),
        (lambda: Downsample(0), "factor 0"),
        (lambda: Inpaint(random_mask()).apply(x[..., :8]), "a mask of shape"),
        (lambda: Inpaint(random_mask()).apply(x[:, :1]), "a mask of shape"),
        (lambda: Gray(torch.ones(2, dtype=torch.bool)).apply(x), "2 frames in color or not, for 3 images"),
        (lambda: Gray(torch.ones(3, dtype=torch.bool), (1.0, 1.0, 1.0)), "a sum of 1"),
        (lambda: Blur(torch.tensor([[0.2, 0.3, 0.5]])), "symmetry"),
        (lambda: Blur(torch.ones(2, 3)), "odd sides"),
        (lambda: Blur(torch.ones(1, 3), 0.0), "least 0.0"),
        (lambda: Blur.gaussian(float("nan")), "a blur of nan"),
        (lambda: level_of_noise(0.0, Flow()), "standard deviation 0.0"),
    ):
        with pytest.raises(InputError, match=said):
            act()
