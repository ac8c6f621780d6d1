"""ViT-L/16 without pre-training."""

_base_ = './vit-base-p16_scratch-8xb512-amp-coslr-300e_in1k.py'

model = dict(encoder=dict(arch='large', drop_path_rate=0.2))
train_cfg = dict(max_epochs=200)
