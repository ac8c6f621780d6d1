"""What a step of the run keeps in memory, and the largest batch that fits."""

from pathlib import Path

import torch

from mae.doctor.environment import Host
from mae.doctor.findings import ExaminedPart, FoundFault
from mae.doctor.probe import FULLEST, Probe
from mae.doctor.subject import Subject, global_batch
from mae.utils.text import counted, readable_size

_NEARLY = 0.85  # of the free memory
_STATUS = Path('/proc/self/status')
_REFS = Path('/proc/self/clear_refs')


def forget_peak(device: str) -> bool:
    """Let the peak count from now on; False where the system cannot."""
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        return True
    try:
        _REFS.write_text('5')
    except OSError:  # another system than Linux, or one that forbids it
        return False
    return True


def peak_bytes(device: str) -> int | None:
    """Of this process since `forget_peak`: of a GPU what tensors took, of a CPU all."""
    if device == 'cuda':
        return int(torch.cuda.max_memory_allocated())
    return _status('VmHWM')


def used_bytes(device: str) -> int | None:
    """Of this process now, likewise."""
    if device == 'cuda':
        return int(torch.cuda.memory_allocated())
    return _status('VmRSS')


def _status(key: str) -> int | None:
    try:
        lines = _STATUS.read_text(encoding='ascii').splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f'{key}:')]
    return int(found[0]) * 1024 if found else None


def expected_bytes(probe: Probe, batch: int, base: int) -> float:
    """Peak of a step.

    Args:
        probe: of the model.
        batch: images that are computed at once.
        base: bytes of the process without model and batch.
    """
    return base + probe.static_bytes + batch * probe.image_bytes


def largest_batch(probe: Probe, memory: int) -> int:
    """Images that fit into free memory; 0 if not even the weights do."""
    return max(0, int((FULLEST * memory - probe.static_bytes) / max(probe.image_bytes, 1.0)))


def judge_batch(batch: int, probe: Probe, memory: int | None) -> list[FoundFault]:
    """A batch that takes more than there is, or nearly all of it.

    Args:
        batch: images that are computed at once.
        probe: of the model.
        memory: bytes that are free; None where the system does not tell.
    """
    if memory is None:
        return []
    needed, most = expected_bytes(probe, batch, 0), largest_batch(probe, memory)
    what = (
        f'a batch of {batch} takes about {readable_size(needed)}, and {readable_size(memory)} are '
        'free'
    )
    if needed > FULLEST * memory:
        fitting = counted(most, 'image fits', 'images fit') if most else 'not even the weights fit'
        return [FoundFault('batch_does_not_fit', f'{what}: {fitting}')]
    if needed > _NEARLY * memory:
        return [FoundFault('memory_nearly_full', f'{what}: {int(most * _NEARLY)} leave some room')]
    return []


def examine_memory(subject: Subject, base: int, peak: int | None) -> ExaminedPart:
    """Say what the run takes.

    Args:
        subject: what is examined.
        base: bytes of the process without model and batch.
        peak: bytes of the trial run; None where unknown.
    """
    probe, host, plan = subject.probe, subject.host, subject.plan
    batch = min(subject.config.train_dataloader.batch_size, global_batch(subject.config))
    measured = peak if plan.is_whole else None
    total = expected_bytes(probe, batch, base) if measured is None else float(measured)
    findings = judge_batch(batch, probe, host.memory)
    return ExaminedPart(
        'memory',
        _lines(probe, host, batch, total, is_measured=measured is not None),
        findings,
        {
            'peak_bytes': total,
            'is_measured': measured is not None,
            'bytes_per_image': probe.image_bytes,
            'static_bytes': probe.static_bytes,
            'batch_that_fits': None if host.memory is None else largest_batch(probe, host.memory),
        },
    )


def _lines(probe: Probe, host: Host, batch: int, total: float, *, is_measured: bool) -> list[str]:
    how = 'measured' if is_measured else 'expected'
    of = 'tensors on the GPU' if host.device == 'cuda' else 'the training process'
    lines = [
        f'peak of {of} with {counted(batch, "image")} at once: {readable_size(total)} ({how})',
        f'weights, gradients and averages {readable_size(probe.static_bytes)}, an image '
        f'{readable_size(probe.image_bytes)}',
    ]
    if host.memory is not None:
        most = counted(largest_batch(probe, host.memory), 'image fits', 'images fit')
        lines.append(f'of {readable_size(host.memory)} free, up to {most}')
    return lines


def base_of(subject: Subject) -> int:
    """Bytes of this process beside what the model takes; 0 on a GPU."""
    if subject.host.device == 'cuda':
        return 0
    own = sum(int(parameter.nbytes) for parameter in subject.model.parameters())
    return max(0, (used_bytes('cpu') or 0) - own)
