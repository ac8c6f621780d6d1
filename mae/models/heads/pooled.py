"""What the classification heads share: one normalised vector per image (paper appendix A.1, A.2).

Shapes: B images, N tokens, D width.
"""

from typing import Literal

from torch import Tensor, nn

from mae.models.layers.block import NORM_EPS
from mae.models.layers.shapes import check_shape
from mae.models.layers.tokens import pool_tokens


class PooledHead(nn.Module):
    """Pools the encoder's tokens and normalises the result.

    Args:
        num_classes: number of classes.
        pool: average of the patch tokens ('avg') or the cls token ('cls').
        norm: 'layer' for fine-tuning (`fc_norm`), 'batch' without affine for the linear probe,
            'none'.
        init_std: standard deviation of the initial weights.
        embed_dim: D; the model passes this and what follows when it is built.
        num_prefix_tokens: number of cls tokens before the patches.

    Raises:
        ValueError: fewer than one class, or an unknown `norm` or `pool`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        pool: Literal['avg', 'cls'] = 'avg',
        norm: Literal['layer', 'batch', 'none'] = 'layer',
        init_std: float = 2e-5,
        embed_dim: int,
        num_prefix_tokens: int,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f'head.num_classes must be at least 1, not {num_classes}')
        if pool not in ('avg', 'cls'):
            raise ValueError(f"head.pool must be 'avg' or 'cls', not {pool!r}")
        if pool == 'cls' and not num_prefix_tokens:
            raise ValueError("head.pool='cls' needs encoder.with_cls_token=True")
        self.num_classes = num_classes
        self.embed_dim = embed_dim
        self.pool: Literal['avg', 'cls'] = pool
        self.init_std = init_std
        self.num_prefix_tokens = num_prefix_tokens
        self.fc_norm = _norm(norm, embed_dim)

    def init_weights(self) -> None:
        """Initialise the norm; subclasses initialise their projection."""
        if isinstance(self.fc_norm, nn.LayerNorm | nn.BatchNorm1d):
            self.fc_norm.reset_parameters()

    def features(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, D).

        Raises:
            ValueError: tokens of another width, or vectors in their place.
        """
        check_shape('tokens', tokens, 'B', 'N', self.embed_dim)
        pooled = pool_tokens(tokens, self.num_prefix_tokens, self.pool)
        features: Tensor = self.fc_norm(pooled)
        return features


def _norm(kind: str, dim: int) -> nn.Module:
    if kind == 'layer':
        return nn.LayerNorm(dim, eps=NORM_EPS)
    if kind == 'batch':
        return nn.BatchNorm1d(dim, eps=1e-6, affine=False)
    if kind == 'none':
        return nn.Identity()
    raise ValueError(f"head.norm must be 'layer', 'batch' or 'none', not {kind!r}")
