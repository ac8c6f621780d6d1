"""The ViT encoder, which sees only what it is given (paper section 3, "MAE encoder").

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, P values in a patch, K kept,
D width, N = prefix + K (or L) tokens.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mae.models.layers.block import NORM_EPS, Block
from mae.models.layers.init import init_token, init_transformer
from mae.models.layers.patches import PatchEmbed, patchify
from mae.models.layers.pos_embed import resample_pos_embed, sincos_pos_embed
from mae.models.layers.residual import to_bf16
from mae.models.layers.tokens import Pool, pool_tokens, take
from mae.registry import MODELS

ARCHS: dict[str, dict[str, int]] = {
    'tiny': {'embed_dim': 192, 'depth': 12, 'num_heads': 3},
    'small': {'embed_dim': 384, 'depth': 12, 'num_heads': 6},
    'base': {'embed_dim': 768, 'depth': 12, 'num_heads': 12},
    'large': {'embed_dim': 1024, 'depth': 24, 'num_heads': 16},
    'huge': {'embed_dim': 1280, 'depth': 32, 'num_heads': 16},
}


@MODELS.register_module()
class ViTEncoder(nn.Module):
    """A vision transformer, in timm's parameter names.

    Args:
        arch: 'tiny', 'small', 'base', 'large' or 'huge', or a dict with `embed_dim`, `depth` and
            `num_heads`.
        img_size: height and width of the images in pixels, or one number for both.
        patch_size: side of a patch in pixels.
        in_channels: channels of the images.
        mlp_ratio: hidden width of the MLP over D.
        drop_path_rate: of the last block; the rate grows linearly from 0 in the first.
        with_cls_token: put a learned token before the patches.
        final_norm: LayerNorm after the last block; off where the head normalises the average.
        trainable_pos: learn the position embedding (fine-tuning) instead of freezing it.
        checkpoint_blocks: recompute activations in the backward pass to save memory.
        bf16_residual: keep what blocks add to in bfloat16, under autocast to it. Changed maths.

    Raises:
        ValueError: unknown `arch`, or an image that is not a whole number of patches.
    """

    def __init__(
        self,
        arch: str | Mapping[str, int] = 'base',
        img_size: int | tuple[int, int] = 224,
        *,
        patch_size: int = 16,
        in_channels: int = 3,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        with_cls_token: bool = True,
        final_norm: bool = True,
        trainable_pos: bool = False,
        checkpoint_blocks: bool = False,
        bf16_residual: bool = False,
    ) -> None:
        super().__init__()
        shape = _shape_of(arch)
        D, self.depth = shape['embed_dim'], shape['depth']
        self.embed_dim = D
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.grid_size = _grid_of(self.img_size, patch_size)
        self.full_img_size, self.full_grid_size = self.img_size, self.grid_size
        self.num_prefix_tokens = int(with_cls_token)
        self.checkpoint_blocks = checkpoint_blocks
        self.bf16_residual = bf16_residual

        self.patch_embed = PatchEmbed(patch_size, in_channels, D)
        if with_cls_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, D))
        pos_embed = sincos_pos_embed(D, self.grid_size, self.num_prefix_tokens)
        self.pos_embed = nn.Parameter(pos_embed, requires_grad=trainable_pos)
        self.blocks = nn.ModuleList(
            Block(D, shape['num_heads'], mlp_ratio=mlp_ratio, drop_path_rate=rate)
            for rate in torch.linspace(0, drop_path_rate, self.depth, device='cpu').tolist()
        )
        self.norm = nn.LayerNorm(D, eps=NORM_EPS) if final_norm else nn.Identity()

    def init_weights(self) -> None:
        """Start all weights as in the paper's appendix A.1."""
        init_transformer(self)
        if self.num_prefix_tokens:
            init_token(self.cls_token)
        pos_embed = sincos_pos_embed(self.embed_dim, self.full_grid_size, self.num_prefix_tokens)
        self.pos_embed.data.copy_(pos_embed)

    def set_img_size(self, img_size: tuple[int, int]) -> None:
        """Take images of another size from now on, with positions resampled to their grid."""
        self.grid_size = _grid_of(img_size, self.patch_size)
        self.img_size = img_size

    def forward(self, images: Tensor) -> Tensor:
        """All tokens of whole images: (B, C, H, W) to (B, prefix + L, D)."""
        return self.encode(self.patchify(images))

    def patchify(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, L, P).

        Raises:
            ValueError: channels or size differ from what the encoder was built for.
        """
        expected = (self.in_channels, *self.img_size)
        if tuple(images.shape[1:]) != expected:
            raise ValueError(
                f'the encoder was built for images of (channels, height, width) {expected}, '
                f'not {tuple(images.shape[1:])}; set encoder.in_channels and encoder.img_size'
            )
        return patchify(images, self.patch_size)

    def encode(self, patches: Tensor, ids_keep: Tensor | None = None) -> Tensor:
        """Patches (B, L, P), or only those at `ids_keep` (B, K), to tokens (B, N, D)."""
        prefix = self.num_prefix_tokens
        old, new = self.full_grid_size, self.grid_size
        positions = resample_pos_embed(self.pos_embed, new, prefix, old)  # 1,prefix+L,D
        pos_embed = positions[:, prefix:]  # 1,L,D
        if ids_keep is not None:
            patches = take(patches, ids_keep)  # B,K,P
            pos_embed = take(pos_embed, ids_keep)  # B,K,D
        x = self.patch_embed(patches) + pos_embed  # B,K,D
        if prefix:
            cls_token = self.cls_token + positions[:, :prefix]
            x = torch.cat([cls_token.expand(len(x), -1, -1).to(x.dtype), x], dim=1)  # B,N,D
        if self.bf16_residual:
            x = to_bf16(x)
        for block in self.blocks:
            if self.checkpoint_blocks and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        out: Tensor = self.norm(x)
        return out

    def extract_features(self, images: Tensor, pool: Pool = 'avg') -> Tensor:
        """One vector an image, (B, D), or all tokens (B, N, D) with `pool='tokens'`."""
        return pool_tokens(self(images), self.num_prefix_tokens, pool)

    def fit_pos_embed(self, pos_embed: Tensor) -> Tensor:
        """Position embedding of another image size, resampled to this encoder's grid."""
        if pos_embed.shape == self.pos_embed.shape:
            return pos_embed
        return resample_pos_embed(pos_embed, self.full_grid_size, self.num_prefix_tokens)

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Which layer of layer-wise learning-rate decay a parameter belongs to.

        Cls token, positions and patch projection are layer 0, block i is layer i + 1, the rest
        comes last (Clark et al. 2020, as the authors of MAE count).

        Args:
            name: of the parameter, from this module.

        Returns:
            The layer, and the number of the last one.
        """
        last = self.depth + 1
        if name.startswith(('cls_token', 'pos_embed', 'patch_embed')):
            return 0, last
        if name.startswith('blocks.'):
            return int(name.split('.')[1]) + 1, last
        return last, last

    def no_weight_decay(self) -> set[str]:
        """Parameters of more than one dimension that fine-tuning does not decay."""
        return {'cls_token', 'pos_embed'}


def _shape_of(arch: str | Mapping[str, int]) -> Mapping[str, Any]:
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f'encoder.arch must be one of {", ".join(ARCHS)}, not {arch!r}')
        return ARCHS[arch]
    if set(arch) != set(ARCHS['base']):
        keys = ', '.join(ARCHS['base'])
        raise ValueError(f'encoder.arch as a dict needs just the keys {keys}, not {sorted(arch)}')
    return arch


def _grid_of(img_size: tuple[int, ...], patch_size: int) -> tuple[int, int]:
    height, width = img_size
    if height % patch_size or width % patch_size:
        raise ValueError(
            f'encoder.img_size={height}x{width} is not divisible by encoder.patch_size={patch_size}'
        )
    return height // patch_size, width // patch_size
