"""Where the networks live."""

from __future__ import annotations

import torch

from ..errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """The device for ``run.device``.

    Raises:
        ConfigError: this machine, or this build of PyTorch, has no such GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"{count} GPUs" if count else "no GPU"
        raise ConfigError(f"run.device = {name!r}: PyTorch finds {found} here", hint="use --device cpu or auto")
    return device
