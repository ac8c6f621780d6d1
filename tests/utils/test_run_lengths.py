"""Masks in COCO's run lengths."""

import numpy as np
import pytest

from mae.utils.run_lengths import decode_mask, encode_mask, run_lengths


# Written by `pycocotools.mask.encode` 2.0.11 for the same masks.
@pytest.mark.parametrize(
    ('mask', 'counts'),
    [
        (np.zeros((5, 7), bool), 'S1'),
        (np.ones((5, 7), bool), '0S1'),
        (np.eye(4, 6, dtype=bool), '014000004'),
        (
            np.fromfunction(lambda y, x: (x * 7 + y * y * 3 + 1) % 11 < 4, (9, 13)),
            '011060J11030M17OI12OO0NO102001MO111ON11030MOO060J110',
        ),
    ],
)
def test_masks_are_coded_as_coco_codes_them(mask, counts):
    assert encode_mask(mask) == {'size': list(mask.shape), 'counts': counts}
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)


def test_masks_come_back():
    noise = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    disc = (x - 384) ** 2 + (y - 240) ** 2 < 144**2
    masks = [noise.random(noise.integers(1, 70, 2)) < noise.random() for _ in range(50)]
    for mask in [*masks, disc]:
        assert np.array_equal(decode_mask(encode_mask(mask)), mask)
    with pytest.raises(ValueError, match='35 pixels, the mask 5x8'):
        decode_mask({'size': [5, 8], 'counts': 'S1'})
    for counts in ('', b'\xd0', '0S'):
        with pytest.raises(ValueError, match='cut off'):
            run_lengths(counts)
    with pytest.raises(ValueError, match='no run lengths'):
        run_lengths('P' * 20 + '0')
