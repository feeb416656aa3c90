"""Devices by the names the command line takes."""

import torch

from geometry.errors import InputError


def pick_device(name: str) -> torch.device:
    """The device of a name as the command line takes it.

    Args:
        name: What torch calls it; "auto" is a GPU where there is one.

    Raises:
        InputError: For a device torch does not know or have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r}: {str(error).splitlines()[-1].strip()}") from error
