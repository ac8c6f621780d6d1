import random

import numpy as np
import torch

from mae.utils.seeding import seed_generators


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_all_generators_follow():
    found = []
    for seed in (5, 6, 5):
        seed_generators(seed)
        found.append(draws())
    assert found[0] == found[2]
    assert all(a != b for a, b in zip(found[0], found[1], strict=True))


def test_any_63_bit_seed_will_do():
    seed_generators(2**63 - 1)
    first = draws()
    seed_generators(2**63 - 1)
    assert draws() == first
