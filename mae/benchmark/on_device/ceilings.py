"""What the device reaches at all: copying, and the products of a ViT-B step at batch 256.

Sizes of products are (M, K, N): (M, K) @ (K, N).
"""

from collections.abc import Iterator
from functools import partial

import torch

from mae.benchmark.measure import Work, alternate, clock_of
from mae.benchmark.on_device.checking import Check, CheckedDevice
from mae.benchmark.report import Figures

_PRODUCTS = {
    'square': (8192, 8192, 8192),
    'encoder qkv': (12800, 768, 2304),
    'encoder fc1': (12800, 768, 3072),
    'encoder fc2': (12800, 3072, 768),
    'decoder qkv': (50432, 512, 1536),
    'decoder fc1': (50432, 512, 2048),
    'decoder out': (50432, 512, 512),
}


def checks(place: CheckedDevice) -> Iterator[Check]:
    """Bytes of a copy, and products one by one."""
    yield 'copy', lambda: _copy(place)
    for name, size in _PRODUCTS.items():
        yield f'product {name}', partial(_product, place, size)


def _copy(place: CheckedDevice) -> Figures:
    """Reading and writing both count."""
    size = 2**22 if place.quick else 2**32
    source = torch.empty(size, dtype=torch.uint8, device=place.device)
    target = torch.empty_like(source)
    seconds = _seconds(lambda: target.copy_(source), place)
    return {'gigabytes_per_second': 2 * size / seconds / 1e9}


def _product(place: CheckedDevice, size: tuple[int, int, int]) -> Figures:
    M, K, N = (number // 64 for number in size) if place.quick else size
    a = torch.randn(M, K, device=place.device, dtype=torch.bfloat16)
    b = torch.randn(N, K, device=place.device, dtype=torch.bfloat16).t()  # as of a linear layer
    seconds = _seconds(lambda: a @ b, place)
    return {'tflops': 2 * M * K * N / seconds / 1e12, 'microseconds': 1e6 * seconds}


def _seconds(work: Work, place: CheckedDevice) -> float:
    rounds, steps = (1, 1) if place.quick else (5, 10)
    clock = clock_of(work, place.device)
    return alternate({'': clock}, rounds=rounds, steps=steps, warmup=steps)[''].median
