"""A decoder of cross-attention alone (Fu et al. 2024, "Rethinking Patch Dependence for MAE").

Changed maths: hidden patches attend to the visible ones and not to each other, so no prediction
depends on which others are made, and predicting fewer (`masker.predict_ratio`) costs
proportionally less. In the paper each block may read another encoder block; here all read the
encoder's output.

Shapes: B images, K kept, M predicted, D encoder width, d decoder width, T values predicted
of a patch.
"""

import torch
from torch import Tensor, nn

from mae.models.decoders.base import Decoder
from mae.models.layers.block import NORM_EPS, to_bf16
from mae.models.layers.cross import CrossBlock
from mae.models.layers.linear import AmpLinear
from mae.registry import MODELS


@MODELS.register_module()
class CrossDecoder(Decoder):
    """Predicts hidden patches, each on its own, from the encoded visible ones.

    Args:
        embed_dim: width d.
        depth: number of blocks, at least 1 (the paper's ViT-B has 12).
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLP over d.
        bf16_residual: keep the residual stream in bfloat16 under autocast to it. Changed maths.
        pos_antialias: how positions are resampled, see `ViTEncoder`.
        encoder_dim: D; the model passes this and what follows when it is built.
        target_dim: T, which the target states.
        grid_size: (h, w) of the patches.
        num_prefix_tokens: tokens of the encoder before the patches.

    Raises:
        ValueError: `depth` is below 1.
    """

    def __init__(
        self,
        embed_dim: int = 512,
        depth: int = 12,
        *,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        bf16_residual: bool = False,
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
        self.bf16_residual = bf16_residual
        self.memory_norm = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.blocks = nn.ModuleList(
            CrossBlock(embed_dim, num_heads, mlp_ratio=mlp_ratio) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.pred = AmpLinear(embed_dim, target_dim)

    def forward(self, latent: Tensor, ids_keep: Tensor, ids_hide: Tensor) -> Tensor:
        """Predict hidden patches.

        Args:
            latent: (B, prefix + K, D), the encoder's tokens.
            ids_keep: int64 (B, K), the patches of these tokens.
            ids_hide: int64 (B, M), the patches to predict.

        Returns:
            (B, M, T), in the order of `ids_hide`.

        Raises:
            ValueError: shapes, types or devices do not match, or an id is outside 0..L - 1.
        """
        x, cls, visible = self.tokens(latent, ids_keep, ids_hide)  # B,M,d
        memory = self.memory_norm(torch.cat([cls, visible], dim=1))  # B,prefix+K,d
        if self.bf16_residual:
            x = to_bf16(x)
        for block in self.blocks:
            x = block(x, memory)
        pred: Tensor = self.pred(self.norm(x))  # B,M,T
        return pred
