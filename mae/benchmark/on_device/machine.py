"""Whether versions fit, and what the machine is."""

import os
import subprocess
from collections.abc import Iterator
from importlib import import_module

import torch

from mae.benchmark.measure import machine_facts
from mae.benchmark.on_device.checking import Check, CheckedDevice
from mae.benchmark.report import Figures
from mae.utils.hardware import cores_at_hand, software

_PEERS = ('transformers', 'lightly', 'timm', 'torchvision', 'mmpretrain', 'stable-pretraining')
_PACKAGES = ('mae.engine', 'mae.datasets', 'mae.models.algorithms', 'mae.evaluation', 'mae.apis')


def checks(place: CheckedDevice) -> Iterator[Check]:
    """Software, imports, device."""
    yield 'software', lambda: dict(software(*_PEERS))
    yield 'imports', _imports
    yield 'device', lambda: _device(place)


def _imports() -> Figures:
    for name in _PACKAGES:
        import_module(name)
    return {'packages': len(_PACKAGES)}


def _device(place: CheckedDevice) -> Figures:
    facts: Figures = {**machine_facts(place.device), 'cores': cores_at_hand()}
    if not place.on_gpu:
        return facts
    properties = torch.cuda.get_device_properties(place.device)
    memory = os.statvfs('/dev/shm')
    return {
        **facts,
        'gib': properties.total_memory / 2**30,
        'multiprocessors': properties.multi_processor_count,
        'capability': f'{properties.major}.{properties.minor}',
        'built_with': torch.__config__.show().splitlines()[2:6],  # CUDA, cuDNN, NCCL
        'cudnn': torch.backends.cudnn.version(),
        'shared_memory_gib': memory.f_frsize * memory.f_blocks / 2**30,
        'nvidia_smi': _driver(),
    }


def _driver() -> str:
    asked = 'driver_version,clocks.max.sm,clocks.max.mem,power.limit'
    words = ['nvidia-smi', f'--query-gpu={asked}', '--format=csv,noheader']
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
