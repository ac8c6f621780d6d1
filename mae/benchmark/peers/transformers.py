"""Hugging Face transformers: `ViTMAEForPreTraining` and UperNet, from version 5 on."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    UperNetConfig,
    UperNetForSemanticSegmentation,
    ViTMAEConfig,
    ViTMAEForPreTraining,
)
from transformers.modeling_outputs import BackboneOutput
from transformers.models.upernet.modeling_upernet import UperNetFCNHead, UperNetHead

from mae.benchmark.inputs import DenseInputs, PretrainingInputs
from mae.benchmark.peers import Peer, decay_groups, renamed
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
_UPERNET_RULES = (
    (r'^(encoder|neck)\.', r'backbone.\1.'),
    (r'^head\.pooled\.(\d)\.', r'decode_head.psp_modules.\1.1.'),
    (r'^head\.fuse\.', 'decode_head.fpn_bottleneck.'),
    (r'^head\.laterals\.', 'decode_head.lateral_convs.'),
    (r'^head\.smooth\.', 'decode_head.fpn_convs.'),
    (r'^head\.classify\.', 'decode_head.classifier.'),
    (r'^head\.', 'decode_head.'),
    (r'^auxiliary\.classify\.', 'auxiliary_head.classifier.'),
    (r'^auxiliary\.', 'auxiliary_head.'),
)
_CONV = re.compile(r'^(decode_head|auxiliary_head)\.(?!classifier)(.*)\.([01])\.(\w+)$')


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


def segment(inputs: DenseInputs) -> dict[str, Callable[[], Peer]]:
    """UperNet around our encoder and neck."""
    return {'': partial(_segmenter, inputs)}


def _segmenter(inputs: DenseInputs) -> Peer:
    model = _upernet(inputs.model)
    model.load_state_dict(_upernet_weights(inputs), strict=True)
    images, maps = inputs.images, torch.stack(list(inputs.targets['maps']))

    def check() -> Tensor:
        model.eval()  # as ours is, without dropout
        found: Tensor = model.forward(images, labels=maps).loss
        model.train()
        return found

    return Peer(
        inputs.settings,
        model,
        forward=lambda size: model(images[:size], labels=maps[:size]).loss,
        check=check,
        groups=decay_groups(model, inputs.weight_decay),
        betas=inputs.betas,
    )


class _DenseBackbone(nn.Module):
    """Our encoder and neck, as UperNet calls a backbone."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.encoder, self.neck, self.taps = ours.encoder, ours.neck, ours.taps

    def forward_with_filtered_kwargs(self, images: Tensor, **options: Any) -> BackboneOutput:
        """The levels of the neck."""
        return BackboneOutput(feature_maps=tuple(self.neck(self.encoder.maps(images, self.taps))))


def _upernet(ours: Any) -> UperNetForSemanticSegmentation:
    """Of the shape of our segmenter; its own backbone, small, makes room for ours."""
    head, auxiliary = ours.head, ours.auxiliary
    stages = [f'stage{number}' for number in range(1, 5)]
    small = {'model_type': 'resnet', 'embedding_size': 8, 'hidden_sizes': [8] * 4}
    options: dict[str, Any] = dict(
        backbone_config={**small, 'depths': [1] * 4, 'out_features': stages},
        hidden_size=head.classify.in_channels,
        num_labels=ours.num_classes,
        pool_scales=list(head.pool_sizes),
        use_auxiliary_head=auxiliary is not None,
        auxiliary_loss_weight=ours.auxiliary_weight,
    )
    if auxiliary is not None:
        options['auxiliary_channels'] = auxiliary.classify.in_channels
        options['auxiliary_num_convs'] = len(auxiliary.convs)
    config = UperNetConfig(**options)
    model = UperNetForSemanticSegmentation(config)
    model.backbone = _DenseBackbone(ours)
    model.decode_head = UperNetHead(config, ours.neck.channels)
    if auxiliary is not None:
        model.auxiliary_head = UperNetFCNHead(config, ours.neck.channels, in_index=auxiliary.level)
    return model


def _upernet_weights(inputs: DenseInputs) -> dict[str, Tensor]:
    """Ours under their names; a convolution and its norm have names there, and numbers here."""
    kinds = {'0': 'conv', '1': 'batch_norm'}
    return {
        _CONV.sub(lambda m: f'{m[1]}.{m[2]}.{kinds[m[3]]}.{m[4]}', name): value
        for name, value in renamed(inputs.weights, _UPERNET_RULES).items()
    }
