"""ViT-B/16 with the values of the paper's table 9."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_in1k.py'

base_lr = 1e-3
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
