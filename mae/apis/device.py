"""Checks the device of a model before anything is fetched or built."""

import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """The device of that name.

    Raises:
        ValueError: there is no such device, or none on this machine.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"no device is called {device!r}: 'cpu', 'cuda' or 'cuda:1'") from None
    if found.type == 'cuda':
        count = torch.cuda.device_count()
        if (found.index or 0) >= count:
            raise ValueError(f"no device {str(found)!r}: torch sees {count} GPUs here; 'cpu' runs")
    return found
