"""Images looked up between the centers of their pixels, for warping, resampling, multi-view agreement and texturing."""

import torch

from geometry.shapes import Float


def sample_at(
    image: Float[torch.Tensor, "*b c h w"], uv: Float[torch.Tensor, "*b n 2"], mode: str = "bilinear"
) -> Float[torch.Tensor, "*b c n"]:
    """Images looked up at pixel positions; beyond the border its values are repeated.

    Differentiable in the images and, except for "nearest", in the positions.

    Args:
        image: Images [*b, c, h, w].
        uv: Positions (u, v) [*b, n, 2], n in each image; the first pixel's center is at (0.5, 0.5).
        mode: "bilinear", "bicubic" or "nearest", as in `torch.nn.functional.grid_sample`.

    Returns:
        The values there [*b, c, n], in the images' float type.
    """
    return sample_across(image, 2 * uv / uv.new_tensor([image.shape[-1], image.shape[-2]]) - 1, mode)


def sample_across(
    image: Float[torch.Tensor, "*b c h w"], position: Float[torch.Tensor, "*b n 2"], mode: str = "bilinear"
) -> Float[torch.Tensor, "*b c n"]:
    """`sample_at` for positions from -1 to 1 across an image's width and height."""
    count = image.shape[:-3].numel()
    grid = position.reshape(count, 1, *position.shape[-2:]).to(image)
    found = torch.nn.functional.grid_sample(
        image.reshape(count, *image.shape[-3:]), grid, mode, padding_mode="border", align_corners=False
    )
    return found[:, :, 0].reshape(*image.shape[:-2], position.shape[-2])
