"""What all decoders share: tokens of the kept and the hidden patches, in the decoder's width.

Shapes: B images, L patches, K kept, M predicted, D encoder width, d decoder width.
"""

import torch
from torch import Tensor, nn

from mae.models.layers.init import init_token, init_transformer
from mae.models.layers.linear import AmpLinear
from mae.models.layers.pos_embed import resample_pos_embed, sincos_pos_embed
from mae.models.layers.shapes import check_ids, check_like, check_shape
from mae.models.layers.tokens import take


class Decoder(nn.Module):
    """Embeds the encoder's tokens, and adds a mask token for each hidden patch.

    Args:
        embed_dim: width d.
        depth: number of blocks, at least 1.
        pos_antialias: how positions are resampled, see `ViTEncoder`.
        encoder_dim: width D of the encoder's tokens.
        grid_size: (h, w) in patches.
        num_prefix_tokens: number of cls tokens before the patches.

    Raises:
        ValueError: `depth` is below 1.
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        *,
        pos_antialias: bool,
        encoder_dim: int,
        grid_size: tuple[int, int],
        num_prefix_tokens: int,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f'decoder.depth must be at least 1, not {depth}')
        self.embed_dim = embed_dim
        self.grid_size = self.full_grid_size = grid_size
        self.num_prefix_tokens = num_prefix_tokens
        self.pos_antialias = pos_antialias

        self.embed = AmpLinear(encoder_dim, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        pos_embed = sincos_pos_embed(embed_dim, grid_size, num_prefix_tokens)
        self.pos_embed = nn.Parameter(pos_embed, requires_grad=False)

    def init_weights(self) -> None:
        """Start all weights as in the paper's appendix A.1."""
        init_transformer(self)
        init_token(self.mask_token)
        pos_embed = sincos_pos_embed(self.embed_dim, self.full_grid_size, self.num_prefix_tokens)
        self.pos_embed.data.copy_(pos_embed)

    def set_grid_size(self, grid_size: tuple[int, int]) -> None:
        """Decode images of another grid from now on, with positions resampled to it."""
        self.grid_size = grid_size

    def tokens(
        self, latent: Tensor, ids_keep: Tensor, ids_hide: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The tokens that the blocks work on, with positions added.

        Args:
            latent: (B, prefix + K, D).
            ids_keep: int64 (B, K).
            ids_hide: int64 (B, M).

        Returns:
            Mask tokens of the hidden patches (B, M, d), cls tokens (B, prefix, d), and tokens of
            the kept patches (B, K, d).

        Raises:
            ValueError: shapes, types or devices do not match, or an id is outside 0..L - 1.
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
        hidden = self.mask_token + take(pos_embed[:, prefix:], ids_hide)  # B,M,d
        visible = x[:, prefix:] + take(pos_embed[:, prefix:], ids_keep)  # B,K,d
        cls = x[:, :prefix] + pos_embed[:, :prefix]  # B,prefix,d
        return hidden, cls, visible
