"""Windows cut and put back; relative positions against a plain N x N bias."""

import pytest
import torch

from mae.models.layers.attention import split_heads
from mae.models.layers.dense_block import DenseBlock
from mae.models.layers.rel_pos import AxisBias, TableBias
from mae.models.layers.windows import from_windows, to_windows


@pytest.mark.parametrize(('grid', 'side'), [((4, 6), 2), ((5, 7), 3), ((2, 3), 4)])
def test_windows_come_back(grid, side):
    tokens = torch.randn(2, grid[0] * grid[1], 5)
    windows = to_windows(tokens, grid, side)
    assert windows.shape == (2 * -(-grid[0] // side) * -(-grid[1] // side), side * side, 5)
    assert torch.equal(from_windows(windows, grid, side), tokens)


def test_a_window_holds_what_lies_together():
    tokens = torch.arange(12.0).view(1, 12, 1)  # a 3x4 grid
    windows = to_windows(tokens, (3, 4), 2)[..., 0]
    assert windows.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 0, 0], [10, 11, 0, 0]]


def random_like(module):
    """The module with random positions, seeded."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module.double()


def plain(q, k, v, bias):
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + bias
    return scores.softmax(-1) @ v


def qkv(tokens, heads=2, width=8):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, heads, tokens, width)
    return torch.randn(shape, generator=generator, dtype=torch.float64).unbind(0)


@pytest.mark.parametrize('grid', [(2, 3), (4, 5)])
def test_axes_in_the_product_equal_a_bias(grid):
    q, k, v = qkv(grid[0] * grid[1])
    bias = random_like(AxisBias(8, (4, 5)))
    found = bias.attend(q, k, v, grid)
    assert torch.allclose(found, plain(q, k, v, bias.bias(q, grid)), atol=1e-12)
    # By hand: the query's product with the direction of each offset.
    for i in range(grid[0] * grid[1]):
        for j in range(grid[0] * grid[1]):
            (y, x), (r, c) = divmod(i, grid[1]), divmod(j, grid[1])
            expected = q[:, :, i] @ bias.rows[y - r + 3] + q[:, :, i] @ bias.columns[x - c + 4]
            assert torch.allclose(bias.bias(q, grid)[:, :, i, j], expected, atol=1e-12)


@pytest.mark.parametrize('prefix', [0, 1])
def test_a_table_holds_a_number_for_each_offset(prefix):
    grid = (2, 3)
    q, k, v = qkv(6 + prefix)
    bias = random_like(TableBias(2, (3, 3), prefix))
    found = bias.bias(grid)
    assert torch.allclose(bias.attend(q, k, v, grid), plain(q, k, v, found), atol=1e-12)
    for i in range(6):
        for j in range(6):
            (y, x), (r, c) = divmod(i, 3), divmod(j, 3)
            row = (y - r + 2) * 5 + (x - c + 2)
            assert torch.equal(found[0, :, i + prefix, j + prefix], bias.table[row])
    if prefix:
        last = bias.table[-3:]
        assert torch.equal(found[0, :, 0, 1:], last[0][:, None].expand(2, 6))
        assert torch.equal(found[0, :, 1:, 0], last[1][:, None].expand(2, 6))
        assert torch.equal(found[0, :, 0, 0], last[2])


@pytest.mark.parametrize('kind', ['none', 'table', 'axes'])
@pytest.mark.parametrize('grid', [(2, 3), (4, 6), (5, 7)])
def test_windows_equal_a_plain_bias_over_all_tokens(grid, kind):
    """All tokens attend to all others, with minus infinity where the window is another.

    The plain grid is filled up with the same zeros where windows do not divide it.
    """
    side, heads, width = 2, 2, 16
    torch.manual_seed(0)
    make = {
        'none': lambda: None,
        'table': lambda: TableBias(heads, (side, side)),
        'axes': lambda: AxisBias(width // heads, (side, side)),
    }[kind]
    rel_pos = make()
    block = DenseBlock(width, heads, window_size=side, rel_pos=rel_pos).double().eval()
    if rel_pos is not None:
        random_like(rel_pos)
    tokens = torch.randn(2, grid[0] * grid[1], width, dtype=torch.float64)
    found = block._attention(tokens, grid)

    h, w = (-(-length // side) * side for length in grid)
    full = torch.nn.functional.pad(
        tokens.view(2, *grid, width), (0, 0, 0, w - grid[1], 0, h - grid[0])
    ).flatten(1, 2)
    q, k, v = split_heads((block.attn.qkv(full),), heads)
    rows, columns = torch.arange(h * w) // w, torch.arange(h * w) % w
    window = (rows // side) * w + columns // side
    bias = torch.full((2, heads, h * w, h * w), -torch.inf, dtype=torch.float64)
    for number in window.unique():
        inside = (window == number).nonzero().flatten()
        here = bias.new_zeros(2, heads, side**2, side**2)
        if kind == 'table':
            here = rel_pos.bias((side, side)).expand_as(here)
        elif kind == 'axes':
            here = rel_pos.bias(q[:, :, inside], (side, side))
        bias[:, :, inside[:, None], inside] = here
    expected = block.attn.proj(plain(q, k, v, bias).transpose(1, 2).flatten(2))
    expected = expected.view(2, h, w, width)[:, : grid[0], : grid[1]].flatten(1, 2)
    assert torch.allclose(found, expected, atol=1e-9)


def test_what_fills_up_windows_changes_nothing_elsewhere():
    """A window that holds no filling gives what it gives where windows divide the grid."""
    torch.manual_seed(0)
    block = DenseBlock(16, 2, window_size=2, rel_pos=random_like(AxisBias(8, (2, 2))))
    block = block.double().eval()
    tokens = torch.randn(1, 5, 7, 16, dtype=torch.float64)
    filled = block(tokens.flatten(1, 2), grid_size=(5, 7)).view(1, 5, 7, 16)
    exact = block(tokens[:, :4, :6].flatten(1, 2), grid_size=(4, 6)).view(1, 4, 6, 16)
    assert torch.allclose(filled[:, :4, :6], exact, atol=1e-12)


def test_a_larger_grid_than_the_positions_is_refused():
    with pytest.raises(ValueError, match=r'encoder\.img_size'):
        TableBias(2, (3, 3)).bias((4, 3))
