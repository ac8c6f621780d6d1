"""ViT-B/16 pre-trained for 300 epochs."""

_base_ = './mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

train_cfg = dict(max_epochs=300)
