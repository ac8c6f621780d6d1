"""The ViT encoder, which sees only the visible patches (paper section 3, "MAE encoder").

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, P values in a patch, K kept,
D width, N = prefix + K (or L) tokens.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mae.models.encoders.backbone import Backbone, OutType
from mae.models.layers.attention_backends import Backend
from mae.models.layers.block import (
    NORM_EPS,
    Block,
    Recompute,
    draw_paths,
    drop_path_rates,
    to_bf16,
)
from mae.models.layers.init import init_token, init_transformer
from mae.models.layers.patches import PatchEmbed, patchify
from mae.models.layers.pos_embed import resample_pos_embed, sincos_pos_embed
from mae.models.layers.shapes import check_ids, check_like, check_shape
from mae.models.layers.tokens import Pool, pool_tokens, take
from mae.registry import MODELS
from mae.utils.vit_sizes import ARCHS


@MODELS.register_module()
class ViTEncoder(Backbone):
    """A vision transformer, in timm's parameter names.

    Args:
        arch: 'tiny', 'small', 'base', 'large' or 'huge', or a dict with `embed_dim`, `depth` and
            `num_heads`.
        img_size: height and width of the images in pixels, or one number for both.
        patch_size: side of a patch in pixels.
        in_channels: channels of the images.
        mlp_ratio: hidden width of the MLP over D.
        drop_path_rate: rate of the last block; it grows linearly from 0 in the first.
        with_cls_token: put a learned token before the patches.
        final_norm: LayerNorm after the last block; off where the head normalises the average.
        trainable_pos: learn the position embedding (fine-tuning) instead of freezing it.
        pos_antialias: how positions are resampled, of weights for another size and for
            `set_img_size`: with antialiasing as timm does, or False, as the authors do.
        recompute: what the backward pass computes again, to save memory: 'nothing', 'cheap' parts
            or whole 'blocks'.
        norm_eps: added to the variance by every LayerNorm.
        out_type: None makes `forward` return tokens, as this toolbox needs them. For a `backbone`
            of mmpretrain, the content of the returned tuple: 'raw' tokens, 'cls_token', 'featmap'
            or 'avg_featmap', the last with a norm of its own (`fc_norm`).
        bf16_residual: keep the residual stream in bfloat16 under autocast to it. Changed maths.
        attention_backend: 'products', or one of PyTorch's kernels: 'flash', 'cudnn', 'efficient',
            'math'; 'auto' takes what was measured to be fastest for this width, length and type.

    Raises:
        ValueError: unknown `arch` or `out_type`, a number out of range, or an image that is not a
            whole number of patches.
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
        pos_antialias: bool = True,
        recompute: Recompute = 'nothing',
        norm_eps: float = NORM_EPS,
        out_type: OutType | None = None,
        bf16_residual: bool = False,
        attention_backend: Backend = 'auto',
    ) -> None:
        super().__init__(out_type, with_cls_token)
        if in_channels < 1:
            raise ValueError(f'encoder.in_channels must be at least 1, not {in_channels}')
        shape = shape_of(arch)
        D, self.depth, self.num_heads = (shape[key] for key in ('embed_dim', 'depth', 'num_heads'))
        self.embed_dim = D
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.grid_size = grid_of(self.img_size, patch_size)
        self.full_img_size, self.full_grid_size = self.img_size, self.grid_size
        self.num_prefix_tokens = int(with_cls_token)
        self.pos_antialias = pos_antialias
        self.norm_eps = norm_eps
        self.bf16_residual = bf16_residual

        self.patch_embed = PatchEmbed(patch_size, in_channels, D)
        if with_cls_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, D))
        pos_embed = sincos_pos_embed(D, self.grid_size, self.num_prefix_tokens)
        self.pos_embed = nn.Parameter(pos_embed, requires_grad=trainable_pos)
        self.blocks = nn.ModuleList(
            Block(
                D,
                self.num_heads,
                mlp_ratio=mlp_ratio,
                drop_path_rate=rate,
                norm_eps=norm_eps,
                recompute=recompute,
                attention_backend=attention_backend,
            )
            for rate in drop_path_rates(drop_path_rate, self.depth)
        )
        self.norm = nn.LayerNorm(D, eps=norm_eps) if final_norm else nn.Identity()
        if out_type == 'avg_featmap':
            self.fc_norm = nn.LayerNorm(D, eps=norm_eps)

    @property
    def pos_grid_size(self) -> tuple[int, int]:
        """That of `img_size` at the start."""
        return self.full_grid_size

    def init_weights(self) -> None:
        """Start all weights as in the paper's appendix A.1."""
        init_transformer(self)
        if self.num_prefix_tokens:
            init_token(self.cls_token)
        pos_embed = sincos_pos_embed(self.embed_dim, self.pos_grid_size, self.num_prefix_tokens)
        self.pos_embed.data.copy_(pos_embed)

    def set_img_size(self, img_size: tuple[int, int]) -> None:
        """Take images of another size from now on, with positions resampled to their grid."""
        self.grid_size = grid_of(img_size, self.patch_size)
        self.img_size = img_size

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor]:
        """All tokens (B, prefix + L, D) of whole images (B, C, H, W), unless `out_type` is set."""
        return self.as_out_type(self.encode(self.patchify(images)))

    def patchify(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, L, P).

        Raises:
            ValueError: channels, size, type or device differ from what the encoder was built for,
                or there are no images.
        """
        self.check_images(images)
        return patchify(images, self.patch_size)

    def encode(self, patches: Tensor, ids_keep: Tensor | None = None) -> Tensor:
        """Patches to tokens (B, N, D).

        Args:
            patches: (B, L, P).
            ids_keep: int64 (B, K), the patches to encode; None encodes all.

        Raises:
            ValueError: shapes, types or devices do not match, or an id is outside 0..L - 1.
        """
        L = self.grid_size[0] * self.grid_size[1]
        check_shape('patches', patches, 'B', L, self.in_channels * self.patch_size**2)
        check_like('patches', patches, self.pos_embed)
        if ids_keep is not None:
            check_ids('ids_keep', ids_keep, patches, L, training=self.training)
        x = self.embed(patches, self.grid_size, ids_keep)  # B,N,D
        for block, scales in zip(self.blocks, draw_paths(self.blocks, x), strict=True):
            x = block(x, scales=scales)
        out: Tensor = self.norm(x)
        return out

    def embed(
        self, patches: Tensor, grid_size: tuple[int, int], ids_keep: Tensor | None = None
    ) -> Tensor:
        """Patches (B, L, P) of a grid (h, w) to the tokens (B, N, D) that enter the first block."""
        prefix = self.num_prefix_tokens
        positions = resample_pos_embed(
            self.pos_embed, grid_size, prefix, self.pos_grid_size, antialias=self.pos_antialias
        )  # 1,prefix+L,D
        pos_embed = positions[:, prefix:]  # 1,L,D
        if ids_keep is not None:
            patches = take(patches, ids_keep)  # B,K,P
            pos_embed = take(pos_embed, ids_keep)  # B,K,D
        x: Tensor = self.patch_embed(patches) + pos_embed  # B,K,D
        if prefix:
            cls_token = self.cls_token + positions[:, :prefix]
            x = torch.cat([cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)  # B,N,D
        return to_bf16(x) if self.bf16_residual else x

    def extract_features(self, images: Tensor, pool: Pool = 'avg') -> Tensor:
        """One vector an image, (B, D), or all tokens (B, N, D) with `pool='tokens'`."""
        tokens = self.encode(self.patchify(images))
        return pool_tokens(tokens, self.num_prefix_tokens, pool)

    def no_weight_decay(self) -> set[str]:
        """Parameters of more than one dimension that fine-tuning does not decay."""
        return {'cls_token', 'pos_embed'}


def shape_of(arch: str | Mapping[str, int]) -> Mapping[str, Any]:
    """`embed_dim`, `depth` and `num_heads` of a name, or of a dict with these keys.

    Raises:
        ValueError: unknown name, or a dict of other keys or of numbers below 1.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f'encoder.arch must be one of {", ".join(ARCHS)}, not {arch!r}')
        return ARCHS[arch]
    if set(arch) != set(ARCHS['base']):
        keys = ', '.join(ARCHS['base'])
        raise ValueError(f'encoder.arch as a dict needs just the keys {keys}, not {sorted(arch)}')
    if min(arch.values()) < 1:
        raise ValueError(f'encoder.arch needs numbers of at least 1, not {dict(arch)}')
    return arch


def grid_of(img_size: tuple[int, ...], patch_size: int) -> tuple[int, int]:
    """(h, w) of the patches of an image of (H, W) pixels.

    Raises:
        ValueError: not a whole number of patches, or none.
    """
    height, width = img_size
    if min(img_size) < 1:
        raise ValueError(f'encoder.img_size must be at least 1, not {height}x{width}')
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise ValueError(
            f'encoder.img_size={height}x{width} is not divisible by encoder.patch_size={patch_size}'
        )
    return height // patch_size, width // patch_size
