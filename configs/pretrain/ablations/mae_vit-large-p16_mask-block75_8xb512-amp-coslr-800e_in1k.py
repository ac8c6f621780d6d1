"""Table 1f: block-wise masking of 75 %."""

_base_ = './mae_vit-large-p16_target-pixel_8xb512-amp-coslr-800e_in1k.py'

model = dict(masker=dict(_delete_=True, type='BlockMasker', mask_ratio=0.75))
