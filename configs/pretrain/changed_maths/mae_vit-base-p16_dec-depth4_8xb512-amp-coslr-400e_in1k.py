"""A decoder of 4 blocks instead of 8."""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

model = dict(decoder=dict(depth=4))
