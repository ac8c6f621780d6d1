"""Choosing, dropping and pooling tokens.

Shapes: B images, N tokens, L patches, K kept, D width.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mae.models.layers.shapes import check_range, check_shape

Pool = Literal['avg', 'cls', 'tokens']


def take(tokens: Tensor, ids: Tensor) -> Tensor:
    """The tokens at `ids` of each image.

    Args:
        tokens: (B, N, D), or (1, N, D) when all images share them.
        ids: int64 (B, K).

    Returns:
        (B, K, D).

    Raises:
        ValueError: ids of another number of images, of which torch would take the first; on a CPU
            also an id outside 0..N - 1.
    """
    if torch.compiler.is_compiling():
        return _take(tokens, ids)
    check_shape('ids', ids, 'B' if len(tokens) == 1 else len(tokens), 'K')
    try:
        return _take(tokens, ids)
    except (IndexError, RuntimeError):
        check_range('ids', ids, tokens.shape[1])
        raise


def _take(tokens: Tensor, ids: Tensor) -> Tensor:
    if tokens.shape[0] == 1:
        return F.embedding(ids, tokens[0])  # indexing would take ids below 0 from the end
    return torch.gather(tokens, 1, ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def pool_tokens(tokens: Tensor, num_prefix_tokens: int, pool: Pool) -> Tensor:
    """One vector for each image, (B, prefix + L, D) to (B, D); `pool='tokens'` keeps all tokens.

    Raises:
        ValueError: unknown `pool`, or 'cls' where there is no cls token.
    """
    if pool == 'tokens':
        return tokens
    if pool == 'avg':
        return tokens[:, num_prefix_tokens:].mean(dim=1)
    if pool != 'cls':
        raise ValueError(f"pool must be 'avg', 'cls' or 'tokens', not {pool!r}")
    if not num_prefix_tokens:
        raise ValueError("pool='cls' needs an encoder with_cls_token=True")
    return tokens[:, 0]
