"""Partial fine-tuning of ViT-L/16: the last 6 blocks, 100 epochs."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_in1k.py'

base_lr = 1e-3
model = dict(encoder=dict(arch='large'), trainable_blocks=6)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
