"""Each refusal is one line with what was handed over and what is right."""

import pytest
import torch

from mae.models.layers.patches import patchify, unpatchify
from mae.models.layers.shapes import check_ids, check_like, check_range, check_shape
from mae.models.layers.tokens import take


def test_shapes():
    x = torch.zeros(2, 5, 80)
    check_shape('patches', x, 'B', 'L', 'P')
    check_shape('patches', x, 2, 5, 80)
    for sizes, wanted in (
        (('B', 6, 80), r'\(B, 6, 80\)'),
        (('B', 5), r'\(B, 5\)'),
        ((3,), r'\(3,\)'),
    ):
        message = rf'^patches must be .* {wanted}, not \(2, 5, 80\)$'
        with pytest.raises(ValueError, match=message):
            check_shape('patches', x, *sizes)
    with pytest.raises(ValueError, match=r'^keys must .* \(B,\), not a list'):
        check_shape('keys', [1, 2], 'B', hint='like ids')


def test_devices_and_types():
    weight = torch.zeros(1)
    check_like('images', torch.ones(3), weight)
    with pytest.raises(ValueError, match=r'^images must be torch\.float32 .* not tor'):
        check_like('images', torch.ones(3).double(), weight)
    with pytest.raises(ValueError, match=r'^images must be on cpu, .*meta$'):
        check_like('images', torch.ones(3, device='meta'), weight)
    with torch.autocast('cpu', torch.bfloat16):
        check_like('images', torch.ones(3).bfloat16(), weight)
        with pytest.raises(ValueError, match=r'not torch.uint8; normalise them$'):
            check_like('images', torch.ones(3).byte(), weight, 'normalise them')


def test_ids():
    tokens, ids = torch.zeros(2, 6, 4), torch.tensor([[0, 5], [3, 1]])
    check_ids('ids', ids, tokens, 6, training=False)
    for wrong, message in (
        (ids[:1], r'^ids must be a tensor of shape \(2, K\), not \(1, 2\)$'),
        (ids.int(), r'^ids must be torch.int64, not torch.int32$'),
        (ids.to('meta'), r'^ids must be on cpu, not on meta$'),
        (ids + 2, r'^ids must lie in 0..5, not at 7$'),
        (ids - 4, r'^ids must lie in 0..5, not at -4$'),
    ):
        with pytest.raises(ValueError, match=message):
            check_ids('ids', wrong, tokens, 6, training=False)
    check_ids('ids', ids + 2, tokens, 6, training=True)  # values wait for the device
    with torch.no_grad(), pytest.raises(ValueError, match='not at 7'):
        check_ids('ids', ids + 2, tokens, 6, training=True)
    check_range('ids', ids[:0], 6)
    check_range('ids', ids.to('meta'), 1)


@pytest.mark.parametrize('images', [1, 2])
@pytest.mark.parametrize('wrong', [6, -1])
def test_tokens_that_there_are_not(images, wrong):
    """A CPU tells them in training too; indexing would take -1 from the end."""
    ids = torch.tensor([[0, wrong], [3, 1]])
    with pytest.raises(ValueError, match=rf'^ids must lie in 0..5, not at {wrong}$'):
        take(torch.zeros(images, 6, 4), ids)


def test_tokens_shared_by_all_get_their_gradients():
    shared = torch.randn(1, 6, 4, requires_grad=True)
    ids = torch.tensor([[0, 5], [5, 1]])
    out = take(shared, ids)
    assert torch.equal(out, shared[0][ids])
    out.sum().backward()
    assert shared.grad[0, :, 0].tolist() == [1, 1, 0, 0, 0, 2]


def test_patches():
    with pytest.raises(ValueError, match=r'^images must be .* \(B, C, H, W\), not \(3, 8, 8\)$'):
        patchify(torch.zeros(3, 8, 8), 4)
    with pytest.raises(ValueError, match=r'^patches must be .* \(B, L, P\), not \(4, 16\)$'):
        unpatchify(torch.zeros(4, 16), 4, (2, 2))
