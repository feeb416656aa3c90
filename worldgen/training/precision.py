"""Whether a device computes in bfloat16."""

import torch


def computes_half(precision: str, device: torch.device) -> bool:
    """Whether products are computed in bfloat16: as asked, or for "auto" where the device has such arithmetic."""
    if precision != "auto" or device.type != "cpu":
        return precision != "fp32"
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
