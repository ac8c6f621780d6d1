"""The batch per device that keeps the global batch."""

import pytest

from mae.engine.data_loaders import batch_per_device


@pytest.mark.parametrize(
    ('most', 'total', 'devices', 'expected'),
    [
        (512, 4096, 8, 512),  # as the recipe says
        (512, 4096, 1, 512),  # accumulation of 8
        (512, 4096, 16, 256),  # more devices than the recipe: less on each
        (64, 64, 2, 32),
        (48, 64, 1, 32),  # the largest divisor that fits
        (512, 4096, 3, 512),  # impossible: left for the sampler to refuse
        (64, 127, 1, 64),  # a prime share: 1 would fit, but nobody wants it
        (8, 4, 8, 8),  # more devices than images
    ],
)
def test_batch_per_device(most: int, total: int, devices: int, expected: int) -> None:
    assert batch_per_device(most, total, devices) == expected
