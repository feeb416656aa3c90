"""Matrix products in bfloat16, where a device has the arithmetic."""

import torch

from geometry.errors import InputError

PRECISIONS = ("auto", "bf16", "fp32")


def computes_half(precision: str, device: torch.device) -> bool:
    """Whether products are computed in bfloat16.

    Args:
        precision: "bf16", "fp32", or "auto": bf16 where the device has such arithmetic.
        device: Where they are computed.

    Raises:
        InputError: Another precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}; expected {', '.join(PRECISIONS)}")
    if precision != "auto" or device.type != "cpu":
        return precision != "fp32"
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which products have a precision. Raises InputError as `computes_half` does."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_half(precision, device))
