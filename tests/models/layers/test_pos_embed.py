import math

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from mae.models.layers.pos_embed import resample_pos_embed, sincos_pos_embed


@pytest.mark.parametrize('grid', [(2, 3), (1, 4), (14, 14)])
@pytest.mark.parametrize('prefix', [0, 1])
def test_formula(grid, prefix):
    dim = 16
    table = sincos_pos_embed(dim, grid, prefix)
    assert table.shape == (1, prefix + grid[0] * grid[1], dim)
    assert table.dtype == torch.float32
    assert not table[:, :prefix].any()
    for row in range(grid[0]):
        for column in range(grid[1]):
            found = table[0, prefix + row * grid[1] + column]
            # First the column, then the row; of each, sines before cosines.
            for axis, place in enumerate((column, row)):
                for i in range(4):
                    angle = place / 10000 ** (i / 4)
                    start = 8 * axis + i
                    assert math.isclose(found[start], math.sin(angle), abs_tol=1e-7)
                    assert math.isclose(found[start + 4], math.cos(angle), abs_tol=1e-7)


def test_every_place_is_different():
    table = sincos_pos_embed(32, (7, 5), 0)[0]
    distances = torch.cdist(table, table) + torch.eye(35) * 9
    assert distances.min() > 0.5


def test_width_must_split_in_four():
    with pytest.raises(ValueError, match=r'^sine-cosine positions .* divisible by 4'):
        sincos_pos_embed(18, (2, 3), 1)


@pytest.mark.parametrize('prefix', [0, 1])
@pytest.mark.parametrize('grid', [(6, 6), (2, 3), (7, 4)])
def test_resampling_is_timms(grid, prefix):
    learned = torch.randn(1, prefix + 16, 8)
    found = resample_pos_embed(learned, grid, prefix)
    theirs = resample_abs_pos_embed(learned, list(grid), num_prefix_tokens=prefix)
    torch.testing.assert_close(found, theirs)
    assert torch.equal(found[:, :prefix], learned[:, :prefix])
    assert resample_pos_embed(learned.double(), grid, prefix).dtype == torch.float64


def test_resampling_from_what_is_no_square():
    with pytest.raises(ValueError, match=r'^6 positions .* square grid'):
        resample_pos_embed(torch.zeros(1, 7, 8), (4, 4), 1)
