"""Weights of attention and their rollout."""

import torch

from mae.models.layers.attention import Attention
from mae.models.layers.attention_maps import attention_rollout, attention_weights


def test_weights_give_what_the_kernel_gives():
    layer, x = Attention(8, 2), torch.randn(2, 5, 8)
    weights = attention_weights(layer, x)
    values = layer.qkv(x)[..., 16:].unflatten(-1, (2, 4)).transpose(1, 2)
    mixed = layer.proj((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixed, layer(x))


def test_rollout_rows_sum_to_one():
    weights = [torch.randn(2, 3, 5, 5).softmax(-1) for _ in range(4)]
    torch.testing.assert_close(attention_rollout(weights).sum(-1), torch.ones(2, 5))


def test_rollout_follows_a_path():
    """Token 0 looks at 1, in the block after which 1 looks at 2: 2 reaches 0 a quarter."""
    first = torch.eye(3)[[0, 2, 2]].expand(1, 1, 3, 3)
    second = torch.eye(3)[[1, 1, 2]].expand(1, 1, 3, 3)
    assert attention_rollout([first, second])[0, 0].tolist() == [0.5, 0.25, 0.25]
    assert attention_rollout([second])[0, 0].tolist() == [0.5, 0.5, 0]
