"""Table 1a: a decoder of 1 block."""

_base_ = './mae_vit-large-p16_target-pixel_8xb512-amp-coslr-800e_in1k.py'

model = dict(decoder=dict(depth=1))
