"""lightly: its MAE out of timm's blocks, put together as its documentation's example does."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightly.models import utils
from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
from timm.layers import set_fused_attn  # type: ignore[attr-defined]  # it is
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mae.benchmark.inputs import PretrainingInputs
from mae.benchmark.peers import Peer, renamed
from mae.zoo.cost import mlp_ratio

_RULES = (
    (r'^encoder\.', 'encoder.vit.'),
    (r'^decoder\.(embed|pos_embed|blocks|norm|pred)', r'decoder.decoder_\1'),
)


class _MAE(nn.Module):
    """The example's model, with its target normalised as ours."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        encoder, decoder = model.encoder, model.decoder
        self.encoder = MaskedVisionTransformerTIMM(_vit(encoder))
        del self.encoder.mask_token  # without use in MAE
        self.encoder.mask_token = None
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # "deprecated": removed in lightly 1.7
            self.decoder = MAEDecoderTIMM(
                num_patches=encoder.grid_size[0] * encoder.grid_size[1],
                patch_size=encoder.patch_size,
                in_chans=encoder.in_channels,
                embed_dim=encoder.embed_dim,
                decoder_embed_dim=decoder.embed_dim,
                decoder_depth=len(decoder.blocks),
                decoder_num_heads=decoder.blocks[0].attn.num_heads,
                mlp_ratio=mlp_ratio(decoder.blocks[0]),
            )
        self.patch_size = encoder.patch_size
        self.mask_ratio = model.masker.mask_ratio
        self.norm_pix = model.target.norm_pix
        self.eps = model.target.eps

    def forward(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        B, length = len(images), self.encoder.sequence_length
        if noise is None:
            keep, hide = utils.random_token_mask(
                size=(B, length), mask_ratio=self.mask_ratio, device=images.device
            )
        else:
            order = noise.argsort(dim=1) + 1
            num_keep = int(noise.shape[1] * (1 - self.mask_ratio))
            first = order.new_zeros(B, 1)
            keep, hide = torch.cat([first, order[:, :num_keep]], 1), order[:, num_keep:]
        latent = self.decoder.embed(self.encoder.encode(images, idx_keep=keep))
        x = utils.repeat_token(self.decoder.mask_token, (B, length))
        x = utils.set_at_index(x, keep, latent.type_as(x))
        x = utils.get_at_index(self.decoder.decode(x), hide)
        target = utils.get_at_index(utils.patchify(images, self.patch_size), hide - 1)
        if self.norm_pix:
            deviation = (target.var(dim=-1, keepdim=True) + self.eps).sqrt()
            target = (target - target.mean(dim=-1, keepdim=True)) / deviation
        return nn.functional.mse_loss(self.decoder.predict(x), target)


def step(inputs: PretrainingInputs) -> dict[str, Callable[[], Peer]]:
    """One variant for each attention kernel of timm."""
    kinds = {'sdpa': True, 'eager': False}
    return {kind: partial(_peer, inputs, kind, fused) for kind, fused in kinds.items()}


def _peer(inputs: PretrainingInputs, kind: str, fused: bool) -> Peer:
    set_fused_attn(enable=fused)
    try:
        model = _MAE(inputs.model)
    finally:
        set_fused_attn()
    model.load_state_dict(renamed(inputs.weights, _RULES), strict=True)
    images, noise = inputs.images, inputs.noise
    return Peer(
        inputs.settings,
        model,
        forward=lambda size: model(images[:size]),
        check=lambda: model.forward(images, noise),
        switch=kind,
    )


def _vit(encoder: Any) -> VisionTransformer:
    return VisionTransformer(
        img_size=encoder.img_size,
        patch_size=encoder.patch_size,
        in_chans=encoder.in_channels,
        num_classes=0,
        global_pool='token',
        embed_dim=encoder.embed_dim,
        depth=encoder.depth,
        num_heads=encoder.blocks[0].attn.num_heads,
        mlp_ratio=mlp_ratio(encoder.blocks[0]),
    )
