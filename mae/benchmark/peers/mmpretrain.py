"""mmpretrain 1.2: its MAE, and the pipeline of its MAE configs."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.dataset import default_collate
from mmpretrain.datasets import CustomDataset
from mmpretrain.models.selfsup import MAE
from mmpretrain.utils import register_all_modules
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from mae.benchmark.inputs import LoaderInputs, PretrainingInputs
from mae.benchmark.peers import Peer, renamed
from mae.zoo.cost import mlp_ratio

_RULES = (
    (r'^encoder\.norm', 'backbone.ln1'),
    (r'^encoder\.patch_embed\.proj', 'backbone.patch_embed.projection'),
    (r'^encoder\.blocks\.', 'backbone.layers.'),
    (r'^encoder\.', 'backbone.'),
    (r'^decoder\.norm', 'neck.ln1'),
    (r'^decoder\.mask_token', 'neck.mask_token'),
    (r'^decoder\.', 'neck.decoder_'),
    (r'\.norm(\d)\.', r'.ln\1.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
)


def step(inputs: PretrainingInputs) -> dict[str, Callable[[], Peer]]:
    """One variant: its attention is always PyTorch's fused one."""
    return {'': lambda: _peer(inputs)}


def loader(inputs: LoaderInputs) -> DataLoader[Any]:
    """The pipeline of `configs/_base_/datasets/imagenet_bs512_mae.py`."""
    register_all_modules(init_default_scope=False)
    crop = inputs.crop
    pipeline = [
        {'type': 'mmpretrain.LoadImageFromFile'},
        {
            'type': 'mmpretrain.RandomResizedCrop',
            'scale': crop['size'],
            'crop_ratio_range': tuple(crop['scale']),
            'backend': 'pillow',
            'interpolation': 'bicubic',
        },
        {'type': 'mmpretrain.RandomFlip', 'prob': 0.5},
        {'type': 'mmpretrain.PackInputs'},
    ]
    images = CustomDataset(data_prefix=str(inputs.root), pipeline=pipeline)
    return DataLoader(Subset(images, inputs.indices), collate_fn=default_collate, **inputs.options)


def _peer(inputs: PretrainingInputs) -> Peer:
    register_all_modules(init_default_scope=False)
    model = MAE(**_config(inputs.model))
    model.load_state_dict(renamed(inputs.weights, _RULES), strict=True)
    images = inputs.images

    def check() -> Tensor:
        draw = torch.rand
        torch.rand = lambda *shape, **options: inputs.noise  # its masking takes no noise
        try:
            return _loss(model.forward(images, data_samples=[], mode='loss'))
        finally:
            torch.rand = draw

    return Peer(
        inputs.settings,
        model,
        forward=lambda size: _loss(model(images[:size], data_samples=[], mode='loss')),
        check=check,
    )


def _loss(outputs: dict[str, Tensor]) -> Tensor:
    return outputs['loss']


def _config(model: Any) -> dict[str, Any]:
    encoder, decoder = model.encoder, model.decoder
    head = {'patch_size': encoder.patch_size, 'in_channels': encoder.in_channels}
    return {
        'data_preprocessor': {'type': 'mmpretrain.SelfSupDataPreprocessor'},
        'backbone': {
            'type': 'mmpretrain.MAEViT',
            'arch': {
                'embed_dims': encoder.embed_dim,
                'num_layers': encoder.depth,
                'num_heads': encoder.blocks[0].attn.num_heads,
                'feedforward_channels': encoder.blocks[0].mlp.fc1.out_features,
            },
            'img_size': encoder.img_size[0],
            'patch_size': encoder.patch_size,
            'patch_cfg': {'in_channels': encoder.in_channels},
            'mask_ratio': model.masker.mask_ratio,
        },
        'neck': {
            'type': 'mmpretrain.MAEPretrainDecoder',
            'num_patches': encoder.grid_size[0] * encoder.grid_size[1],
            'patch_size': encoder.patch_size,
            'in_chans': encoder.in_channels,
            'embed_dim': encoder.embed_dim,
            'decoder_embed_dim': decoder.embed_dim,
            'decoder_depth': len(decoder.blocks),
            'decoder_num_heads': decoder.blocks[0].attn.num_heads,
            'mlp_ratio': mlp_ratio(decoder.blocks[0]),
        },
        'head': {
            'type': 'mmpretrain.MAEPretrainHead',
            'norm_pix': model.target.norm_pix,
            'loss': {'type': 'mmpretrain.PixelReconstructionLoss', 'criterion': 'L2'},
            **head,
        },
    }
