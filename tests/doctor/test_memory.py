"""Batches that fit and that do not; the peak of a process, and of a GPU."""

from mmap import mmap

import pytest
import torch

from mae.doctor.memory import (
    forget_peak,
    judge_batch,
    largest_batch,
    peak_bytes,
    used_bytes,
)
from mae.doctor.probe import Probe, fits_memory, plan_batches

MIB = 1 << 20
PROBE = Probe(seconds=0.01, image_bytes=10 * MIB, static_bytes=100 * MIB)


@pytest.mark.parametrize(
    ('batch', 'found'),
    [(10, []), (80, ['memory_nearly_full']), (86, ['batch_does_not_fit'])],
)
def test_a_batch_beside_free_memory(batch, found):
    assert [finding.name for finding in judge_batch(batch, PROBE, 1000 * MIB)] == found
    assert judge_batch(batch, PROBE, None) == []


def test_the_batch_that_fits_is_the_largest():
    most = largest_batch(PROBE, 1000 * MIB)
    assert most == 85
    assert fits_memory(most, PROBE, 1000 * MIB)
    assert not fits_memory(most + 1, PROBE, 1000 * MIB)
    assert largest_batch(PROBE, 10 * MIB) == 0
    (found,) = judge_batch(86, PROBE, 1000 * MIB)
    assert found.what.endswith('85 images fit')
    assert judge_batch(9, PROBE, 120 * MIB)[0].what.endswith('1 image fits')
    (found,) = judge_batch(1, PROBE, 10 * MIB)
    assert found.what.endswith('not even the weights fit')


@pytest.mark.parametrize(
    ('micro', 'total', 'seconds', 'memory', 'plan'),
    [
        (64, 64, 0.01, None, (64, 64, True)),
        (16, 256, 0.01, None, (16, 256, True)),  # with accumulation
        (512, 4096, 1.0, None, (2, 2, False)),  # a step of an hour
        (512, 4096, 0.1, None, (16, 16, False)),
        (64, 64, 0.01, 300 * MIB, (16, 16, False)),  # that does not fit
        (64, 64, 0.01, 1 * MIB, (2, 2, False)),
    ],
)
def test_batches_of_the_trial_run(micro, total, seconds, memory, plan, host):
    probe = Probe(seconds, PROBE.image_bytes, PROBE.static_bytes)
    found = plan_batches(micro, total, probe, host(memory=memory))
    assert (found.micro_batch, found.global_batch, found.is_whole) == plan


def test_the_peak_of_a_process_is_seen():
    assert forget_peak('cpu')
    with mmap(-1, 48 * MIB) as block:  # unlike `malloc`'s, its memory goes back at once
        block.write(b'1' * (48 * MIB))
        used = used_bytes('cpu')
    peak = peak_bytes('cpu')
    assert peak >= used - MIB
    forget_peak('cpu')
    assert peak_bytes('cpu') < peak - 32 * MIB


def test_the_peak_of_a_gpu_is_what_its_tensors_took(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, 'reset_peak_memory_stats', lambda: calls.append('reset'))
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: 7)
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda: 5)
    assert forget_peak('cuda')
    assert calls == ['reset']
    assert (peak_bytes('cuda'), used_bytes('cuda')) == (7, 5)
