"""Software and hardware on which a result was measured."""

import platform
from pathlib import Path

from mae.utils.versions import versions


def software(*others: str) -> dict[str, str]:
    """Versions, by name, of what a result depends on.

    Args:
        others: names of further distributions; those not installed are skipped.
    """
    return {**versions(*others), 'Python': platform.python_version()}


def cpu_name() -> str:
    """The CPU's name in `/proc/cpuinfo`, or the kind of machine."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def gpu_name() -> str:
    """Name of the current GPU; 'no GPU' without one."""
    import torch  # takes seconds, and `--help` needs none of it

    return torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
