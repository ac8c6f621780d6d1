"""Hugging Face transformers: `ViTMAEForPreTraining`, from version 5 on."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from mae.benchmark.inputs import PretrainingInputs
from mae.benchmark.peers import Peer, renamed
from mae.zoo.cost import mlp_ratio

_RULES = (
    (r'^encoder\.blocks\.', 'vit.layers.'),
    (r'^encoder\.norm', 'vit.layernorm'),
    (r'^encoder\.pos_embed', 'vit.embeddings.position_embeddings'),
    (r'^encoder\.patch_embed\.proj', 'vit.embeddings.patch_embeddings.projection'),
    (r'^encoder\.', 'vit.embeddings.'),
    (r'^decoder\.blocks\.', 'decoder.decoder_layers.'),
    (r'^decoder\.(embed|pos_embed|norm|pred)', r'decoder.decoder_\1'),
    (r'\.norm1\.', '.layernorm_before.'),
    (r'\.norm2\.', '.layernorm_after.'),
    (r'\.attn\.proj\.', '.attention.o_proj.'),
)


def step(inputs: PretrainingInputs) -> dict[str, Callable[[], Peer]]:
    """One variant for each attention kernel."""
    return {kind: partial(_peer, inputs, kind) for kind in ('sdpa', 'eager')}


def _peer(inputs: PretrainingInputs, kind: str) -> Peer:
    model = ViTMAEForPreTraining(_config(inputs.model, kind))
    model.load_state_dict(_weights(inputs), strict=True)
    images, noise = inputs.images, inputs.noise
    return Peer(
        inputs.settings,
        model,
        forward=lambda size: model(images[:size]).loss,
        check=lambda: model.forward(images, noise=noise).loss,
        switch=kind,
    )


def _weights(inputs: PretrainingInputs) -> dict[str, Tensor]:
    """Ours under their names; queries, keys and values are three layers there."""
    found = {}
    for name, value in renamed(inputs.weights, _RULES).items():
        parts = ('q', 'k', 'v') if '.attn.qkv.' in name else ('',)
        for part, piece in zip(parts, value.chunk(len(parts)), strict=True):
            found[re.sub(r'\.attn\.qkv\.', f'.attention.{part}_proj.', name)] = piece
    return found


def _config(model: Any, kind: str) -> ViTMAEConfig:
    encoder, decoder = model.encoder, model.decoder
    options: dict[str, Any] = dict(
        hidden_size=encoder.embed_dim,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.blocks[0].attn.num_heads,
        intermediate_size=encoder.blocks[0].mlp.fc1.out_features,
        layer_norm_eps=encoder.norm.eps,
        image_size=encoder.img_size[0],
        patch_size=encoder.patch_size,
        num_channels=encoder.in_channels,
        decoder_hidden_size=decoder.embed_dim,
        decoder_num_hidden_layers=len(decoder.blocks),
        decoder_num_attention_heads=decoder.blocks[0].attn.num_heads,
        decoder_intermediate_size=int(decoder.embed_dim * mlp_ratio(decoder.blocks[0])),
        mask_ratio=model.masker.mask_ratio,
        norm_pix_loss=model.target.norm_pix,
        attn_implementation=kind,
    )
    return ViTMAEConfig(**options)
