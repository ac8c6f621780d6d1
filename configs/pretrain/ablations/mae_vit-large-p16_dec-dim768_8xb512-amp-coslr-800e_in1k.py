"""Table 1b: a decoder 768 wide."""

_base_ = './mae_vit-large-p16_target-pixel_8xb512-amp-coslr-800e_in1k.py'

model = dict(decoder=dict(embed_dim=768))
