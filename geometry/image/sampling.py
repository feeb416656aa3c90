"""Images between the centers of their pixels: the one look-up that warping, resampling and texturing share."""

import torch

from geometry.shapes import Float


def sample_at(
    image: Float[torch.Tensor, "*b c h w"], uv: Float[torch.Tensor, "*b n 2"], mode: str = "bilinear"
) -> Float[torch.Tensor, "*b c n"]:
    """What images show at pixel positions (u, v); outside, what their border does.

    mode  "bilinear", "bicubic" or "nearest", as for `torch.nn.functional.grid_sample`

    Computed in the image's float type. Differentiable in the image and, but for "nearest", in the positions.
    """
    return sample_across(image, 2 * uv / uv.new_tensor([image.shape[-1], image.shape[-2]]) - 1, mode)


def sample_across(
    image: Float[torch.Tensor, "*b c h w"], position: Float[torch.Tensor, "*b n 2"], mode: str = "bilinear"
) -> Float[torch.Tensor, "*b c n"]:
    """`sample_at` positions that span an image's width and height from -1 to 1."""
    count = image.shape[:-3].numel()
    grid = position.reshape(count, 1, *position.shape[-2:]).to(image)
    found = torch.nn.functional.grid_sample(
        image.reshape(count, *image.shape[-3:]), grid, mode, padding_mode="border", align_corners=False
    )
    return found[:, :, 0].reshape(*image.shape[:-2], position.shape[-2])
