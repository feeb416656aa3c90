"""Products in bfloat16, where a device has the arithmetic."""

import torch

from geometry.errors import InputError

PRECISIONS = ("auto", "bf16", "fp32")


def computes_half(precision: str, device: torch.device) -> bool:
    """Whether products are computed in bfloat16: as asked, or for "auto" where the device has such arithmetic.

    Raises InputError for another precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}; expected {', '.join(PRECISIONS)}")
    if precision != "auto" or device.type != "cpu":
        return precision != "fp32"
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
