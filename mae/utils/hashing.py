"""Counter-based randomness: every random number is a hash of what it belongs to.

`splitmix64` (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators") in
wrapping int64 arithmetic, which gives the same bits on every device.
"""

import torch
from torch import Tensor

_MASK63 = (1 << 63) - 1
_MASK64 = (1 << 64) - 1


def _signed(x: int) -> int:
    """The two's complement reading of the low 64 bits of `x`."""
    x &= _MASK64
    return x - (1 << 64) if x >> 63 else x


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MUL_1 = _signed(0xBF58476D1CE4E5B9)
_MUL_2 = _signed(0x94D049BB133111EB)


def _xor_shift(x: Tensor, bits: int) -> Tensor:
    # `>>` keeps the sign in torch: the mask makes it a logical shift.
    return x ^ ((x >> bits) & ((1 << (64 - bits)) - 1))


def mix64(x: Tensor) -> Tensor:
    """One splitmix64 step of every element: a bijection of int64 that looks random.

    Args:
        x: int64, any shape and device.
    """
    x = x + _GAMMA
    x = _xor_shift(x, 30) * _MUL_1
    x = _xor_shift(x, 27) * _MUL_2
    return _xor_shift(x, 31)


def sample_keys(seed: int, epoch: int, ids: Tensor) -> Tensor:
    """The random key of each sample in an epoch, from which its crop and mask follow.

    Args:
        seed: the run's seed, any integer.
        epoch: number of the epoch, from 0.
        ids: int64 (B,), sample ids.

    Returns:
        int64 (B,), non-negative.
    """
    return mix64(ids ^ derive(seed, epoch)) & _MASK63


def derive(*parts: int) -> int:
    """One non-negative 63-bit number from several, in order: a seed for what they name."""
    state = 0
    for part in parts:
        state = _mix64_of_one(state ^ (part & _MASK64))
    return state & _MASK63


def _mix64_of_one(x: int) -> int:
    """`mix64` of an unsigned number; as a tensor it takes 50 times as long."""
    x = (x + _GAMMA) & _MASK64
    x = ((x ^ (x >> 30)) * _MUL_1) & _MASK64
    x = ((x ^ (x >> 27)) * _MUL_2) & _MASK64
    return x ^ (x >> 31)


def key_noise(keys: Tensor, count: int) -> Tensor:
    """Random whole numbers for each key, by counter.

    Args:
        keys: int64 (B,).
        count: numbers per key.

    Returns:
        int64 (B, count), uniform in [0, 2^63): ties are as good as impossible.
    """
    counter = torch.arange(1, count + 1, device=keys.device) * _GAMMA
    return mix64(mix64(keys)[:, None] ^ counter) & _MASK63


def key_uniform(keys: Tensor, count: int) -> Tensor:
    """Like `key_noise`, but float64 (B, count), uniform in [0, 1)."""
    return (key_noise(keys, count) >> 10).double() * 2.0**-53
