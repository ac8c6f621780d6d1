"""Where attention looks: its weights, and their rollout over blocks; for pictures.

Shapes: B images, H heads, N tokens, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mae.models.layers.attention import Attention, split_heads


def attention_weights(attention: Attention, x: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)), which the kernels of `Attention` never return: (B, H, N, N).

    A row is a query: it sums to one over the keys.

    Args:
        attention: the layer.
        x: (B, N, D), its input, behind the block's first norm.
    """
    q, k, _ = split_heads((attention.qkv(x),), attention.num_heads)
    scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # B,H,N,N
    return scores.softmax(dim=-1)


def attention_rollout(weights: Sequence[Tensor]) -> Tensor:
    """How much of each input token reaches each output token (Abnar and Zuidema 2020): (B, N, N).

    The weights of a block, averaged over its heads, count half and the residual connection counts
    half; the blocks are multiplied. A row is an output token: it sums to one over the inputs.

    Args:
        weights: (B, H, N, N) of the blocks, in the order in which they run.
    """
    N = weights[0].shape[-1]
    identity = torch.eye(N, device=weights[0].device, dtype=weights[0].dtype)
    rolled = identity.expand(len(weights[0]), N, N)
    for each in weights:
        rolled = (each.mean(1) + identity) / 2 @ rolled
    return rolled
