"""The lightweight decoder (paper section 3, "MAE decoder").

Attention ignores the order of tokens once positions are added, so tokens are never put back into
image order: the hidden patches come first, are the only queries of the last block, and are all
that is predicted.

Shapes: B images, L patches, K kept, M predicted, D encoder width, d decoder width, T values
predicted of a patch.
"""

import torch
from torch import Tensor, nn

from mae.models.decoders.base import Decoder
from mae.models.layers.attention_backends import Backend
from mae.models.layers.block import NORM_EPS, Block, Recompute, to_bf16
from mae.models.layers.linear import AmpLinear
from mae.registry import MODELS


@MODELS.register_module()
class TransformerDecoder(Decoder):
    """Predicts the hidden patches from the encoded visible ones.

    Args:
        embed_dim: width d.
        depth: number of blocks, at least 1.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLP over d.
        norm_eps: added to the variance by every LayerNorm.
        recompute: what the backward pass computes again, to save memory: 'nothing', 'cheap' parts
            or whole 'blocks'.
        bf16_residual: keep the residual stream in bfloat16 under autocast to it. Changed maths.
        attention_backend: see `ViTEncoder`.
        pos_antialias: how positions are resampled, see `ViTEncoder`.
        encoder_dim: D; the model passes this and what follows when it is built.
        target_dim: T, which the target states.
        grid_size: (h, w) of the patches.
        num_prefix_tokens: tokens of the encoder before the patches.

    Raises:
        ValueError: `depth` is below 1, or an unknown `recompute`.
    """

    def __init__(
        self,
        embed_dim: int = 512,
        depth: int = 8,
        *,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        norm_eps: float = NORM_EPS,
        recompute: Recompute = 'nothing',
        bf16_residual: bool = False,
        attention_backend: Backend = 'auto',
        pos_antialias: bool = True,
        encoder_dim: int,
        target_dim: int,
        grid_size: tuple[int, int],
        num_prefix_tokens: int,
    ) -> None:
        super().__init__(
            embed_dim,
            depth,
            pos_antialias=pos_antialias,
            encoder_dim=encoder_dim,
            grid_size=grid_size,
            num_prefix_tokens=num_prefix_tokens,
        )
        self.num_heads = num_heads
        self.bf16_residual = bf16_residual
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                num_heads,
                mlp_ratio=mlp_ratio,
                norm_eps=norm_eps,
                recompute=recompute,
                attention_backend=attention_backend,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.pred = AmpLinear(embed_dim, target_dim)

    def forward(self, latent: Tensor, ids_keep: Tensor, ids_hide: Tensor) -> Tensor:
        """Predict the hidden patches.

        Args:
            latent: (B, prefix + K, D), the encoder's tokens.
            ids_keep: int64 (B, K), the patches of these tokens.
            ids_hide: int64 (B, M), the patches to predict.

        Returns:
            (B, M, T), in the order of `ids_hide`.

        Raises:
            ValueError: shapes, types or devices do not match, or an id is outside 0..L - 1.
        """
        hidden, cls, visible = self.tokens(latent, ids_keep, ids_hide)
        x = torch.cat([hidden, cls, visible], dim=1)  # B,M+prefix+K,d
        if self.bf16_residual:
            x = to_bf16(x)
        for block in self.blocks[:-1]:
            x = block(x)
        x = self.blocks[-1](x, num_queries=ids_hide.shape[1])  # B,M,d
        pred: Tensor = self.pred(self.norm(x))  # B,M,T
        return pred
