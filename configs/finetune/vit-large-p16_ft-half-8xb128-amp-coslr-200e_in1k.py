"""Partial fine-tuning of ViT-L/16: the MLP of the last block, 200 epochs."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_in1k.py'

base_lr = 1e-3
model = dict(encoder=dict(arch='large'), trainable_blocks=0.5)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
train_cfg = dict(max_epochs=200)
