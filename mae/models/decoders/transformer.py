"""The lightweight decoder (paper section 3, "MAE decoder").

Attention ignores the order of tokens once positions are added, so tokens are never put back into
image order: the hidden patches come first and are all that the last block asks for and predicts.

Shapes: B images, L patches, K kept, D encoder width, d decoder width, T values predicted
of a patch.
"""

import torch
from torch import Tensor, nn

from mae.models.layers.block import NORM_EPS, Block
from mae.models.layers.init import init_token, init_transformer
from mae.models.layers.pos_embed import resample_pos_embed, sincos_pos_embed
from mae.models.layers.recompute import Recompute
from mae.models.layers.residual import to_bf16
from mae.models.layers.shapes import check_ids, check_like, check_shape
from mae.models.layers.tokens import take
from mae.registry import MODELS


@MODELS.register_module()
class TransformerDecoder(nn.Module):
    """Predicts the hidden patches from the encoded visible ones.

    Args:
        embed_dim: width d.
        depth: number of blocks, at least 1.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLP over d.
        norm_eps: added to the variance by every LayerNorm.
        recompute: in the backward pass, to save memory: 'nothing', 'cheap' parts or whole 'blocks'.
        bf16_residual: keep what blocks add to in bfloat16, under autocast to it. Changed maths.
        pos_antialias: how positions are resampled, see `ViTEncoder`.
        encoder_dim: D; this and the rest is handed over by the encoder when a model is built.
        target_dim: T, handed over by the target.
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
        pos_antialias: bool = True,
        encoder_dim: int,
        target_dim: int,
        grid_size: tuple[int, int],
        num_prefix_tokens: int,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f'decoder.depth must be at least 1, not {depth}')
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.grid_size = self.full_grid_size = grid_size
        self.num_prefix_tokens = num_prefix_tokens
        self.bf16_residual = bf16_residual
        self.pos_antialias = pos_antialias

        self.embed = nn.Linear(encoder_dim, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        pos_embed = sincos_pos_embed(embed_dim, grid_size, num_prefix_tokens)
        self.pos_embed = nn.Parameter(pos_embed, requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, mlp_ratio=mlp_ratio, norm_eps=norm_eps, recompute=recompute)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.pred = nn.Linear(embed_dim, target_dim)

    def init_weights(self) -> None:
        """Start all weights as in the paper's appendix A.1."""
        init_transformer(self)
        init_token(self.mask_token)
        pos_embed = sincos_pos_embed(self.embed_dim, self.full_grid_size, self.num_prefix_tokens)
        self.pos_embed.data.copy_(pos_embed)

    def set_grid_size(self, grid_size: tuple[int, int]) -> None:
        """Decode images of another grid from now on, with positions resampled to it."""
        self.grid_size = grid_size

    def forward(self, latent: Tensor, ids_keep: Tensor, ids_hide: Tensor) -> Tensor:
        """Predict the hidden patches.

        Args:
            latent: (B, prefix + K, D), the encoder's tokens.
            ids_keep: int64 (B, K), the patches they stand for.
            ids_hide: int64 (B, L-K), the patches to predict.

        Returns:
            (B, L-K, T), in the order of `ids_hide`.

        Raises:
            ValueError: shapes, types or devices do not go together, or an id is no patch's.
        """
        prefix, L = self.num_prefix_tokens, self.grid_size[0] * self.grid_size[1]
        check_shape('latent', latent, 'B', 'N', 'D')
        check_ids('ids_keep', ids_keep, latent, L, training=self.training)
        check_ids('ids_hide', ids_hide, latent, L, training=self.training)
        check_shape('latent', latent, 'B', prefix + ids_keep.shape[1], self.embed.in_features)
        check_like('latent', latent, self.mask_token)
        pos_embed = resample_pos_embed(
            self.pos_embed,
            self.grid_size,
            prefix,
            self.full_grid_size,
            antialias=self.pos_antialias,
        )
        x = self.embed(latent)  # B,prefix+K,d
        hidden = self.mask_token + take(pos_embed[:, prefix:], ids_hide)  # B,L-K,d
        visible = x[:, prefix:] + take(pos_embed[:, prefix:], ids_keep)  # B,K,d
        cls = x[:, :prefix] + pos_embed[:, :prefix]  # B,prefix,d
        x = torch.cat([hidden, cls, visible], dim=1)  # B,L+prefix,d
        if self.bf16_residual:
            x = to_bf16(x)
        for block in self.blocks[:-1]:
            x = block(x)
        x = self.blocks[-1](x, num_queries=ids_hide.shape[1])  # B,L-K,d
        pred: Tensor = self.pred(self.norm(x))  # B,L-K,T
        return pred
