"""What the machine offers, and what a config asks of it before anything is computed."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mae.benchmark.measure import available_memory
from mae.doctor.findings import ExaminedPart, FoundFault
from mae.engine.data_loaders import auto_workers
from mae.utils.files import lowest_existing
from mae.utils.hardware import cores_at_hand, cpu_name, software
from mae.utils.precision import cost_of_float32, cpu_computes_bfloat16
from mae.utils.text import readable_size

_SHARED = Path('/dev/shm')
_SHOWN = ('mae', 'torch', 'torchvision', 'mmengine', 'Python')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@dataclass(frozen=True)
class Host:
    """What a run has at hand.

    Attributes:
        device: 'cpu' or 'cuda'.
        gpus: names of the GPUs.
        cores: of the CPU, for this process.
        memory: bytes of the device that are free; None where the system does not tell.
        shared: bytes of shared memory that are free; None where there is none.
        disk: bytes that are free where the work dir lies.
        work_dir: of the run.
    """

    device: str
    gpus: tuple[str, ...]
    cores: int
    memory: int | None
    shared: int | None
    disk: int
    work_dir: Path

    @classmethod
    def of(cls, work_dir: str | Path) -> 'Host':
        """This machine, for a run in a work dir that need not exist."""
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        device = 'cuda' if count else 'cpu'
        place = Path(os.path.abspath(work_dir))
        there = lowest_existing(place)
        return cls(
            device,
            tuple(torch.cuda.get_device_name(number) for number in range(count)),
            cores_at_hand(),
            available_memory(torch.device(device)),
            shutil.disk_usage(_SHARED).free if _SHARED.exists() else None,
            shutil.disk_usage(there).free,
            place,
        )


def environment(config: Mapping[str, Any], host: Host, image_bytes: int) -> ExaminedPart:
    """Look at versions and machine.

    Args:
        config: of the run.
        host: this machine.
        image_bytes: of an image as a data worker gives it, uint8.
    """
    versions = software()
    lines = [
        ', '.join(f'{name} {versions[name]}' for name in _SHOWN if name in versions),
        f'{_devices(host)}; {host.cores} cores of {cpu_name()}',
        f'free: {_free(host.memory)} of memory, {_free(host.shared)} of shared memory, '
        f'{readable_size(host.disk)} of disk for {host.work_dir}',
    ]
    findings = [
        *judge_work_dir(host.work_dir),
        *judge_workers(config, host.cores),
        *judge_shared_memory(config, host, image_bytes),
        *_judge_number_format(config, host),
    ]
    facts = {
        'versions': versions,
        'nccl': '.'.join(map(str, torch.cuda.nccl.version())) if host.gpus else None,
        'gpus': list(host.gpus),
        'cores': host.cores,
        'free_memory': host.memory,
        'free_shared_memory': host.shared,
        'free_disk': host.disk,
    }
    return ExaminedPart('environment', lines, findings, facts)


def _devices(host: Host) -> str:
    if not host.gpus:
        return 'no GPU'
    nccl = '.'.join(map(str, torch.cuda.nccl.version()))
    return f'{len(host.gpus)} x {host.gpus[0]}, NCCL {nccl}'


def _free(number: int | None) -> str:
    return 'an unknown amount' if number is None else readable_size(number)


def judge_work_dir(place: Path) -> list[FoundFault]:
    """A work dir that cannot be made, or not be written into."""
    there = lowest_existing(place)
    if not there.is_dir():
        return [FoundFault('work_dir_refused', f'{there} is a file')]
    if not os.access(there, os.W_OK | os.X_OK):
        return [FoundFault('work_dir_refused', f'{there} may not be written')]
    return []


def judge_workers(config: Mapping[str, Any], cores: int) -> list[FoundFault]:
    """Data loaders with more workers than there are cores, each that differs once."""
    findings: dict[int, FoundFault] = {}
    for key in LOADERS:
        workers = (config.get(key) or {}).get('num_workers')
        if isinstance(workers, int) and workers > cores and workers not in findings:
            what = f'{workers} workers share {cores} cores with the training process'
            findings[workers] = FoundFault('workers_beyond_cores', what, f'{key}.num_workers')
    return list(findings.values())


def judge_shared_memory(
    config: Mapping[str, Any], host: Host, image_bytes: int
) -> list[FoundFault]:
    """Batches that data workers hold ready, beside the shared memory that they lie in."""
    loader = config['train_dataloader']
    workers = loader.get('num_workers', 0)
    workers = auto_workers(host.cores) if workers == 'auto' else workers
    batch = loader.get('batch_size', 1) * image_bytes
    needed = workers * (loader.get('prefetch_factor') or 2) * batch
    if host.shared is None or needed <= host.shared:
        return []
    what = (
        f'{workers} workers hold up to {readable_size(needed)} of images ready, and '
        f'{readable_size(host.shared)} of shared memory are free'
    )
    return [FoundFault('little_shared_memory', what)]


def _judge_number_format(config: Mapping[str, Any], host: Host) -> list[FoundFault]:
    amp = (config.get('optim_wrapper') or {}).get('amp')
    if amp == 'bfloat16' and host.device == 'cpu' and not cpu_computes_bfloat16():
        what = 'this CPU has no instructions for bfloat16, and computes it slower than float32'
        return [FoundFault('slow_number_format', what)]
    cost = cost_of_float32(amp)
    return [FoundFault('slow_number_format', cost)] if cost else []
