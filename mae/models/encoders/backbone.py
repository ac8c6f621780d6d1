"""What encoders share: fitting of weights, layers for layer-wise decay, OpenMMLab's conventions.

Shapes: B images, C channels, N tokens, L patches, D width, h w grid, p side of a patch.
"""

from typing import Any, Literal, get_args

from mmengine.logging import print_log
from torch import Tensor, nn

from mae.models.layers.patches import adapt_patch_channels, resize_patch_weight
from mae.models.layers.pos_embed import (
    describe_resampling,
    resample_pos_embed,
    with_class_position,
    without_class_position,
)
from mae.models.layers.shapes import check_like
from mae.models.layers.tokens import pool_tokens

# Names and shapes as in mmpretrain's VisionTransformer.
OutType = Literal['raw', 'cls_token', 'featmap', 'avg_featmap']


class Backbone(nn.Module):
    """Base of encoders with a grid of patches and a stack of blocks.

    Args:
        out_type: what `forward` returns, see `as_out_type`.
        with_cls_token: True if tokens[:, 0] is a cls token.

    Raises:
        ValueError: `out_type` is unknown, or 'cls_token' where there is none.
    """

    depth: int
    in_channels: int
    img_size: tuple[int, ...]
    patch_size: int
    grid_size: tuple[int, int]
    num_prefix_tokens: int
    pos_embed: nn.Parameter
    pos_antialias: bool
    fc_norm: nn.Module

    def __init__(self, out_type: OutType | None, with_cls_token: bool) -> None:
        super().__init__()
        if out_type is not None and out_type not in get_args(OutType):
            known = ', '.join(get_args(OutType))
            raise ValueError(f'encoder.out_type must be None or one of {known}, not {out_type!r}')
        if out_type == 'cls_token' and not with_cls_token:
            raise ValueError("encoder.out_type='cls_token' needs with_cls_token=True")
        self.out_type = out_type
        if out_type is not None:  # in a model of this toolbox `fit_weights` does it
            self.register_load_state_dict_pre_hook(_fit_positions)

    @property
    def pos_grid_size(self) -> tuple[int, int]:
        """(h, w) of the patches that `pos_embed` has positions of."""
        return self.grid_size

    def check_images(self, images: Tensor) -> None:
        """Refuse images that this encoder was not built for.

        Raises:
            ValueError: names what they are and what they should be.
        """
        if not isinstance(images, Tensor):
            raise ValueError(f'images must be a tensor (B, C, H, W), not a {type(images).__name__}')
        shape = tuple(images.shape)
        expected = (self.in_channels, *self.img_size)
        if len(shape) != 4 or shape[1:] != expected:
            hint = 'set encoder.in_channels and encoder.img_size'
            if shape[-3:] == (*self.img_size, self.in_channels):
                hint = 'channels come first: images.movedim(-1, -3)'
            elif shape == expected:
                hint = 'one image is a batch too: images[None]'
            found = f'{shape[0]} x {shape[1:]}' if len(shape) == 4 else shape
            raise ValueError(
                'the encoder was built for images of B x (channels, height, width) = '
                f'B x {expected}, not {found}; {hint}'
            )
        if not shape[0]:
            raise ValueError('there are no images: the batch is empty')
        hint = "data_preprocessor({'inputs': images}) normalises uint8 images"
        check_like('images', images, self.pos_embed, hint)

    def as_out_type(self, tokens: Tensor) -> Tensor | tuple[Tensor]:
        """Tokens (B, N, D), or with an `out_type` a tuple, as a classifier of mmpretrain reads it.

        It contains for 'raw' the tokens, for 'cls_token' (B, D), for 'featmap' (B, D, h, w), and
        for 'avg_featmap' (B, D) the normalised average of the patches.
        """
        prefix = self.num_prefix_tokens
        if self.out_type is None:
            return tokens
        if self.out_type == 'raw':
            return (tokens,)
        if self.out_type == 'cls_token':
            return (pool_tokens(tokens, prefix, 'cls'),)
        if self.out_type == 'avg_featmap':
            return (self.fc_norm(pool_tokens(tokens, prefix, 'avg')),)
        patches = tokens[:, prefix:].transpose(1, 2)  # B,D,L
        return (patches.reshape(*patches.shape[:2], *self.grid_size),)

    def fit_pos_embed(
        self,
        pos_embed: Tensor,
        old_grid_size: tuple[int, int] | None = None,
        *,
        antialias: bool | None = None,
    ) -> Tensor:
        """Positions of another image size or shape, resampled to the grid of this encoder's.

        Where this encoder has no cls token, that of the others goes first.

        Args:
            pos_embed: (1, N, D), of the encoder or of its decoder.
            old_grid_size: (h, w) they were made for; None: the encoder's grid if their number fits,
                else a square.
            antialias: see `resample_pos_embed`; None is `pos_antialias`.

        Raises:
            ValueError: their number fits neither grid.
        """
        prefix, grid_size = self.num_prefix_tokens, self.pos_grid_size
        if not prefix:
            pos_embed = without_class_position(pos_embed, old_grid_size or grid_size)
        same = old_grid_size is None or tuple(old_grid_size) == grid_size
        if same and pos_embed.shape[1] == self.pos_embed.shape[1]:
            return pos_embed
        pos_embed = with_class_position(pos_embed, prefix, old_grid_size)
        antialias = self.pos_antialias if antialias is None else antialias
        return resample_pos_embed(pos_embed, grid_size, prefix, old_grid_size, antialias=antialias)

    def fit_patch_weight(self, weight: Tensor) -> Tensor:
        """A patch projection (D, C, p, p), fitted to this encoder's channels and patch size."""
        weight = adapt_patch_channels(weight, self.in_channels)
        return resize_patch_weight(weight, self.patch_size)

    def get_layer_depth(self, name: str, prefix: str | None = None) -> tuple[int, int]:
        """Which layer of layer-wise learning-rate decay a parameter belongs to.

        Cls token, positions and patch projection are layer 0, block i is layer i + 1, the rest
        comes last (Clark et al. 2020, as the authors of MAE count).

        Args:
            name: the parameter's, relative to this module.
            prefix: what precedes this module's names, as mmpretrain passes it; None otherwise.

        Returns:
            The layer, and the number of the last one; with `prefix`, how many there are.
        """
        last = self.depth + 1
        if prefix is not None:
            layer = self.get_layer_depth(name.removeprefix(prefix))[0]
            return (layer if name.startswith(prefix) else last), last + 1
        if name.startswith(('cls_token', 'pos_embed', 'patch_embed')):
            return 0, last
        if name.startswith('blocks.'):
            return int(name.split('.')[1]) + 1, last
        return last, last

    def _checkpoint_filter(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        """Give our weights mmpretrain's names, in place: its classifiers call this before loading.

        The encoder and the norm of the head become the `backbone`; the decoder is dropped.
        """
        if not any(name.startswith(f'{prefix}encoder.patch_embed.') for name in state_dict):
            return
        for name in list(state_dict):
            own = name.removeprefix(prefix)
            if own.startswith('decoder.'):
                del state_dict[name]
            for ours, theirs in (('encoder.', 'backbone.'), ('head.fc_norm.', 'backbone.fc_norm.')):
                if own.startswith(ours):
                    state_dict[prefix + theirs + own.removeprefix(ours)] = state_dict.pop(name)


def _fit_positions(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Fit positions of another image size, in place, before a backbone of mmpretrain loads them.

    Raises:
        ValueError: they are of no square grid.
    """
    assert isinstance(module, Backbone)
    name = f'{prefix}pos_embed'
    positions = state_dict.get(name)
    if positions is None or positions.shape == module.pos_embed.shape:
        return
    if positions.ndim != 3 or positions.shape[-1] != module.pos_embed.shape[-1]:
        return  # of another model: loading will report the shapes
    try:
        state_dict[name] = module.fit_pos_embed(positions)  # drops the cls token's, as mmpretrain
    except ValueError as error:
        raise ValueError(f'{name} does not fit the backbone: {error}') from None
    message = describe_resampling(name, positions, state_dict[name], module.pos_antialias)
    print_log(message, logger='current')
