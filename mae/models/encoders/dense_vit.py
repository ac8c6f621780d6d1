"""A ViT that gives maps of features: the encoder of segmentation and detection.

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, D width.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from mae.models.encoders.vit import ViTEncoder, grid_of
from mae.models.layers.attention_backends import Backend
from mae.models.layers.block import Recompute, draw_paths, drop_path_rates
from mae.models.layers.dense_block import DenseBlock
from mae.models.layers.patches import patchify
from mae.models.layers.pos_embed import sincos_pos_embed
from mae.models.layers.rel_pos import AxisBias, RelPos, TableBias, check_rel_pos
from mae.models.layers.shapes import check_like, check_shape
from mae.registry import MODELS


@MODELS.register_module()
class DenseViTEncoder(ViTEncoder):
    """`ViTEncoder` with windows, relative positions and layer scale, for images of any size.

    Weights of `ViTEncoder` fit: what is new starts where it changes nothing, but for windows.

    Args:
        mlp_ratio: see `ViTEncoder`, like `drop_path_rate`, `recompute` and `attention_backend`.
        window_size: side of the windows in patches; 0 attends globally everywhere.
        global_blocks: numbers of the blocks, from 0, that attend globally beside windows.
        rel_pos: 'none'; 'table', a number for each head and offset; 'axes', a direction for each
            offset along an axis, as ViTDet has it.
        share_rel_pos: one table for all blocks with windows and one for all others.
        layer_scale: value at the start; None without it.
        pos_img_size: size in pixels of the images that the positions are of, which are resampled at
            each use, as ViTDet does; None is `img_size`.
        load_pos: take the positions of pre-trained weights, resampled. False keeps the sine-cosine
            ones of the encoder's own grid, which are not learned.
        options: see `ViTEncoder`. An image may differ from `img_size`.

    Raises:
        ValueError: windows with a cls token, or 'axes' with one; a block that is not there;
            learned positions that no weights give.
    """

    def __init__(
        self,
        *args: Any,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        recompute: Recompute = 'nothing',
        attention_backend: Backend = 'auto',
        window_size: int = 0,
        global_blocks: Sequence[int] = (),
        rel_pos: RelPos = 'none',
        share_rel_pos: bool = False,
        layer_scale: float | None = None,
        pos_img_size: int | tuple[int, int] | None = None,
        load_pos: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            *args,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate,
            recompute=recompute,
            attention_backend=attention_backend,
            **options,
        )
        check_rel_pos(rel_pos)
        if self.num_prefix_tokens and (window_size or rel_pos == 'axes'):
            raise ValueError(
                "encoder.window_size and rel_pos='axes' need encoder.with_cls_token=False"
            )
        if window_size < 0 or not set(global_blocks) <= set(range(self.depth)):
            raise ValueError(
                f'encoder.window_size must not be negative and encoder.global_blocks lie in '
                f'0..{self.depth - 1}, not {window_size} and {list(global_blocks)}'
            )
        self._set_positions(pos_img_size, load_pos)
        sides = [0 if number in global_blocks else window_size for number in range(self.depth)]
        shared = {side: self._make_bias(rel_pos, side) for side in set(sides)}
        self.blocks = nn.ModuleList(
            DenseBlock(
                self.embed_dim,
                self.num_heads,
                window_size=side,
                rel_pos=shared[side] if share_rel_pos else self._make_bias(rel_pos, side),
                layer_scale=layer_scale,
                mlp_ratio=mlp_ratio,
                drop_path_rate=rate,
                norm_eps=self.norm_eps,
                recompute=recompute,
                attention_backend=attention_backend,
            )
            for side, rate in zip(sides, drop_path_rates(drop_path_rate, self.depth), strict=True)
        )

    @property
    def pos_grid_size(self) -> tuple[int, int]:
        """That of `pos_img_size`."""
        return self._pos_grid_size

    def fit_pos_embed(self, pos_embed: Tensor, *args: Any, **options: Any) -> Tensor:
        """See `Backbone.fit_pos_embed`; with `load_pos=False` the encoder's own."""
        if self.load_pos:
            return super().fit_pos_embed(pos_embed, *args, **options)
        return self.pos_embed.detach().clone()

    def no_weight_decay(self) -> set[str]:
        """Of the tokens and positions, those that there are."""
        return super().no_weight_decay() - (set() if self.num_prefix_tokens else {'cls_token'})

    def maps(self, images: Tensor, after: Sequence[int]) -> list[Tensor]:
        """Maps of features after chosen blocks.

        Args:
            images: normalised float (B, C, H, W), whole numbers of patches high and wide.
            after: numbers of blocks, from 0, in rising order.

        Returns:
            (B, D, h, w) for each; the final norm, where there is one, is part of the last block.

        Raises:
            ValueError: channels, type or device differ from the encoder's, or the size is not of
                whole patches.
        """
        check_shape('images', images, 'B', self.in_channels, 'H', 'W')
        check_like('images', images, self.pos_embed)
        height, width = images.shape[-2:]
        grid_size = grid_of((height, width), self.patch_size)
        found = []
        tokens = self._tokens(patchify(images, self.patch_size), grid_size)
        for number, x in enumerate(tokens):
            if number in after:
                patches = x[:, self.num_prefix_tokens :].transpose(1, 2)
                found.append(patches.unflatten(2, grid_size))
        return found

    def encode(self, patches: Tensor, ids_keep: Tensor | None = None) -> Tensor:
        """All patches (B, L, P) of images of `img_size` to tokens (B, N, D).

        Raises:
            ValueError: some are to be left out, which windows and offsets do not allow.
        """
        if ids_keep is not None:
            raise ValueError(
                'DenseViTEncoder encodes whole images; pre-train with ViTEncoder, whose weights fit'
            )
        *_, tokens = self._tokens(patches, self.grid_size)
        return tokens

    def _tokens(self, patches: Tensor, grid_size: tuple[int, int]) -> Iterator[Tensor]:
        """Tokens (B, N, D) after each block, the last ones after the final norm."""
        x = self.embed(patches, grid_size)
        paths = draw_paths(self.blocks, x)
        for number, (block, scales) in enumerate(zip(self.blocks, paths, strict=True), start=1):
            x = block(x, scales=scales, grid_size=grid_size)
            yield self.norm(x) if number == self.depth else x

    def _set_positions(self, img_size: int | tuple[int, int] | None, load_pos: bool) -> None:
        if not load_pos and self.pos_embed.requires_grad:
            raise ValueError(
                'encoder.load_pos=False keeps the positions as they are: it needs '
                'encoder.trainable_pos=False'
            )
        self.load_pos = load_pos
        size = (img_size, img_size) if isinstance(img_size, int) else img_size
        try:
            self._pos_grid_size = grid_of(size or self.full_img_size, self.patch_size)
        except ValueError as error:  # of the other key
            text = str(error).replace('encoder.img_size', 'encoder.pos_img_size')
            raise ValueError(text) from None
        positions = sincos_pos_embed(self.embed_dim, self._pos_grid_size, self.num_prefix_tokens)
        self.pos_embed = nn.Parameter(positions, requires_grad=self.pos_embed.requires_grad)

    def _make_bias(self, kind: RelPos, side: int) -> TableBias | AxisBias | None:
        grid_size = (side, side) if side else self.full_grid_size
        if kind == 'table':
            return TableBias(self.num_heads, grid_size, self.num_prefix_tokens)
        if kind == 'axes':
            return AxisBias(self.embed_dim // self.num_heads, grid_size)
        return None
