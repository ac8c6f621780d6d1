import random

import pytest
import torch

from mae.utils.hashing import derive, key_noise, key_uniform, mix64, sample_keys

WORD = (1 << 64) - 1


def splitmix64(x):
    """The generator's published step on unsigned numbers."""
    z = (x + 0x9E3779B97F4A7C15) & WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def signed(x):
    return x - (1 << 64) if x >> 63 else x


def test_published_values():
    # The first outputs of splitmix64 from seed 0 (Vigna's reference program).
    state, outputs = 0, []
    for _ in range(3):
        outputs.append(int(mix64(torch.tensor(signed(state)))) & WORD)
        state = (state + 0x9E3779B97F4A7C15) & WORD
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_equals_python_integers():
    numbers = [0, 1, WORD, 1 << 63, (1 << 63) - 1] + [random.getrandbits(64) for _ in range(500)]
    found = mix64(torch.tensor([signed(x) for x in numbers]))
    assert found.tolist() == [signed(splitmix64(x)) for x in numbers]


def test_no_collisions():
    keys = sample_keys(0, 0, torch.arange(300000))
    assert len(keys.unique()) == 300000
    assert keys.min() >= 0
    several = [sample_keys(seed, epoch, torch.arange(20000)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(torch.cat(several).unique()) == 80000


def test_the_same_in_any_batch():
    ids = torch.tensor([5, 9, 2**40, 0])
    keys = sample_keys(7, 3, ids)
    for place, number in enumerate(ids):
        assert sample_keys(7, 3, number[None]) == keys[place]
    noise = key_noise(keys, 10)
    assert torch.equal(key_noise(keys[[2]], 10), noise[[2]])
    assert torch.equal(key_noise(keys, 4), noise[:, :4])  # counters: more are a continuation


def test_bits_are_fair_and_independent():
    bits = (key_noise(sample_keys(0, 0, torch.arange(2000)), 16)[..., None] >> torch.arange(63)) & 1
    flat = bits.flatten(0, 1).double()  # 32000 numbers, 63 bits
    deviation = 0.5 / len(flat) ** 0.5
    assert (flat.mean(0) - 0.5).abs().max() < 5 * deviation
    correlation = torch.corrcoef(flat.T) - torch.eye(63)
    assert correlation.abs().max() < 5.5 / len(flat) ** 0.5
    neighbours = torch.corrcoef(bits[:, :2, 0].T.double())[0, 1]
    assert abs(neighbours) < 5 / 2000**0.5


def test_uniform():
    draws = key_uniform(sample_keys(0, 0, torch.arange(1000)), 20)
    assert draws.dtype == torch.float64
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = torch.histc(draws.flatten(), 50, 0, 1)
    assert ((counts - 400) ** 2).sum() / 400 < 49 + 6 * 98**0.5


def test_derive():
    assert derive(0) == splitmix64(0) & (WORD >> 1)
    assert derive(3, 5) == splitmix64(splitmix64(3) ^ 5) & (WORD >> 1)
    seeds = {derive(*parts) for parts in [(), (0,), (0, 0), (1, 0), (0, 1), (-1,), (2**63,)]}
    assert len(seeds) == 7
    assert all(0 <= seed < 1 << 63 for seed in seeds)
    assert derive(-1) == derive(WORD)


@pytest.mark.parametrize('seed', [0, 2**31, 2**62])
def test_keys_tell_seed_and_epoch_apart(seed):
    ids = torch.arange(100)
    assert not (sample_keys(seed, 0, ids) == sample_keys(seed, 1, ids)).any()
    assert not (sample_keys(seed, 1, ids) == sample_keys(seed + 1, 0, ids)).any()
