"""Software and hardware on which a result was measured."""

import os
import platform
from collections.abc import Mapping
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


_QUOTA = Path('/sys/fs/cgroup/cpu.max')  # of a container: microseconds of CPU in a period


def cores_at_hand(environ: Mapping[str, str] = os.environ) -> int:
    """Cores for this process: at least 1.

    Those that the system, a container or SLURM grants, shared among the processes that torchrun has
    started on this machine.
    """
    bound = hasattr(os, 'sched_getaffinity')
    cores = len(os.sched_getaffinity(0)) if bound else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding='ascii').split()
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or 'max'
        pass
    if granted := environ.get('SLURM_CPUS_PER_TASK'):
        cores = min(cores, int(granted))
    return max(1, cores // int(environ.get('LOCAL_WORLD_SIZE') or 1))


def gpu_name() -> str:
    """Name of the current GPU; 'no GPU' without one."""
    import torch  # takes seconds, and `--help` needs none of it

    return torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
