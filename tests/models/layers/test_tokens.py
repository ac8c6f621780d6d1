import pytest
import torch

from mae.models.layers.tokens import pool_tokens, take


@pytest.mark.parametrize('shared', [True, False])
def test_take(shared):
    tokens = torch.randn(1 if shared else 3, 6, 4, requires_grad=True)
    ids = torch.tensor([[5, 0], [2, 2], [1, 4]])
    taken = take(tokens, ids)
    for image, row in enumerate(ids.tolist()):
        for place, patch in enumerate(row):
            assert torch.equal(taken[image, place], tokens[0 if shared else image, patch])
    taken.sum().backward()
    counts = torch.zeros(tokens.shape[:2])
    for image, row in enumerate(ids.tolist()):
        for patch in row:
            counts[0 if shared else image, patch] += 1
    assert torch.equal(tokens.grad[..., 0], counts)


def test_pool():
    tokens = torch.randn(2, 7, 4)
    assert torch.equal(pool_tokens(tokens, 1, 'avg'), tokens[:, 1:].mean(1))
    assert torch.equal(pool_tokens(tokens, 0, 'avg'), tokens.mean(1))
    assert torch.equal(pool_tokens(tokens, 1, 'cls'), tokens[:, 0])
    assert pool_tokens(tokens, 1, 'tokens') is tokens
    with pytest.raises(ValueError, match=r"^pool='cls' needs an encoder with_cls_token=True$"):
        pool_tokens(tokens, 0, 'cls')
    with pytest.raises(ValueError, match=r"^pool must .*'avg', 'cls' .*'tokens', .*'max'$"):
        pool_tokens(tokens, 1, 'max')
