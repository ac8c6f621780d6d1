"""stable-pretraining: its `MAE` around timm's ViT.

Its decoder gets no cls token, so the loss of an encoder that has one differs a little from ours;
it agrees with `model.encoder.with_cls_token=False`.

Shapes: B images, L patches, D width.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mae.benchmark.inputs import PretrainingInputs
from mae.benchmark.peers import Peer, renamed
from mae.zoo.cost import mlp_ratio

_RULES = (
    (r'^encoder\.', 'encoder.vit.'),
    (r'^decoder\.embed\.', 'decoder.transformer.context_proj.'),
    (r'^decoder\.mask_token$', 'decoder.transformer.query_proj.bias'),
    (r'^decoder\.norm\.', 'decoder.transformer.final_norm.'),
    (r'^decoder\.pred\.', 'decoder.transformer.output_proj.'),
    (r'^decoder\.(blocks|pos_embed)', r'decoder.transformer.\1'),
)


class _Given(nn.Module):
    """Masks by noise, where the library draws its own.

    Args:
        noise: (B, L); the lowest are kept.
        num_keep: patches of an image that are visible.
    """

    def __init__(self, noise: Tensor, num_keep: int) -> None:
        super().__init__()
        self._order = noise.argsort(dim=1)
        self._num_keep = num_keep

    def forward(self, x: Tensor, height: int, width: int) -> SimpleNamespace:
        keep = self._order[:, : self._num_keep]
        visible = x.gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))
        mask = x.new_ones(x.shape[:2]).scatter(1, keep, 0)
        return SimpleNamespace(visible=visible, mask=mask, ids_keep=keep)  # what the encoder reads


def step(inputs: PretrainingInputs) -> dict[str, Callable[[], Peer]]:
    """One variant: its decoder has one kernel of attention."""
    from stable_pretraining.methods import mae  # late: the one peer that our tests do without

    return {'': lambda: _peer(inputs, mae)}


def _peer(inputs: PretrainingInputs, library: Any) -> Peer:
    ours = inputs.model
    model = library.MAE(
        _vit(ours.encoder), mask_ratio=ours.masker.mask_ratio, norm_pix_loss=ours.target.norm_pix
    )
    model.decoder = library.MAEDecoder(
        embed_dim=ours.encoder.embed_dim,
        decoder_embed_dim=ours.decoder.embed_dim,
        output_dim=ours.encoder.patch_size**2 * ours.encoder.in_channels,
        num_patches=inputs.noise.shape[1],
        depth=len(ours.decoder.blocks),
        num_heads=ours.decoder.blocks[0].attn.num_heads,
        mlp_ratio=mlp_ratio(ours.decoder.blocks[0]),
    )
    for module in model.decoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = ours.encoder.norm.eps
    model.load_state_dict(_weights(inputs, model), strict=True)
    images = inputs.images
    given = _Given(inputs.noise, ours.masker.num_keep(inputs.noise.shape[1]))

    def check() -> Tensor:
        drawn, model.encoder.masking = model.encoder.masking, given
        try:
            found: Tensor = model.forward(images).loss
        finally:
            model.encoder.masking = drawn
        return found

    return Peer(inputs.settings, model, forward=lambda size: model(images[:size]).loss, check=check)


def _weights(inputs: PretrainingInputs, model: Any) -> dict[str, Tensor]:
    """Ours under their names; the pixels of a patch lie channel by channel there."""
    encoder = inputs.model.encoder
    prefix, P, C = encoder.num_prefix_tokens, encoder.patch_size, encoder.in_channels
    found = renamed(inputs.weights, _RULES)
    for name in ('weight', 'bias'):
        key = f'decoder.transformer.output_proj.{name}'
        found[key] = found[key].unflatten(0, (P, P, C)).movedim(2, 0).flatten(0, 2)
    # Their token for hidden patches is projected: nothing but the projection's bias is left of it.
    found['decoder.transformer.query_proj.bias'] = found[
        'decoder.transformer.query_proj.bias'
    ].flatten()
    found['decoder.transformer.pos_embed'] = found['decoder.transformer.pos_embed'][:, prefix:]
    zeros = ('decoder.mask_token', 'decoder.transformer.query_proj.weight')
    state = model.state_dict()
    found |= {name: state[name].clone() for name in zeros}
    found['decoder.mask_token'].zero_()
    # The encoder names its patch embedding twice.
    again = {n.replace('.vit.', '.'): x for n, x in found.items() if '.vit.patch_embed.' in n}
    return found | {name: x for name, x in again.items() if name in state}


def _vit(encoder: Any) -> VisionTransformer:
    return VisionTransformer(
        img_size=encoder.img_size,
        patch_size=encoder.patch_size,
        in_chans=encoder.in_channels,
        num_classes=0,
        global_pool='avg',
        fc_norm=False,
        embed_dim=encoder.embed_dim,
        depth=encoder.depth,
        num_heads=encoder.blocks[0].attn.num_heads,
        mlp_ratio=mlp_ratio(encoder.blocks[0]),
        class_token=encoder.num_prefix_tokens > 0,
    )
