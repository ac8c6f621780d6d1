"""What OpenMMLab's libraries ask of a backbone, so that our encoder fits their configs.

Shapes: B images, N tokens, L patches, D width, h w grid.
"""

from typing import Any, Literal, get_args

from torch import Tensor

from mae.models.layers.tokens import pool_tokens

# The words and shapes of mmpretrain's VisionTransformer.
OutType = Literal['raw', 'cls_token', 'featmap', 'avg_featmap']


def check_out_type(out_type: str | None, with_cls_token: bool) -> None:
    """Refuse a wrong `out_type` of an encoder.

    Raises:
        ValueError: it is unknown, or 'cls_token' where there is none.
    """
    if out_type is not None and out_type not in get_args(OutType):
        known = ', '.join(get_args(OutType))
        raise ValueError(f'encoder.out_type must be None or one of {known}, not {out_type!r}')
    if out_type == 'cls_token' and not with_cls_token:
        raise ValueError("encoder.out_type='cls_token' needs with_cls_token=True")


def format_tokens(
    tokens: Tensor, out_type: OutType, grid_size: tuple[int, int], num_prefix_tokens: int
) -> Tensor:
    """Tokens (B, N, D) as 'raw' they are, 'cls_token' (B, D), 'featmap' (B, D, h, w) or their
    average over the patches, 'avg_featmap' (B, D)."""
    if out_type == 'raw':
        return tokens
    if out_type == 'featmap':
        patches = tokens[:, num_prefix_tokens:].transpose(1, 2)  # B,D,L
        return patches.reshape(*patches.shape[:2], *grid_size)
    return pool_tokens(tokens, num_prefix_tokens, 'cls' if out_type == 'cls_token' else 'avg')


def rename_for_backbone(weights: dict[str, Any], prefix: str = '') -> None:
    """Bring weights of our models, in place, to the names of an mmpretrain classifier.

    The encoder becomes the `backbone`, its head's norm goes with it, the decoder goes.

    Args:
        weights: by name; left alone unless they are of our models.
        prefix: before all names.
    """
    if not any(name.startswith(f'{prefix}encoder.patch_embed.') for name in weights):
        return
    for name in list(weights):
        own = name.removeprefix(prefix)
        if own.startswith('decoder.'):
            del weights[name]
        for ours, theirs in (('encoder.', 'backbone.'), ('head.fc_norm.', 'backbone.fc_norm.')):
            if own.startswith(ours):
                weights[prefix + theirs + own.removeprefix(ours)] = weights.pop(name)
