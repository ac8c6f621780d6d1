"""Pre-training on MaskFeat's histograms of oriented gradients."""

_base_ = './mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'

# One cell of 4x4 pixels a patch: 9 values.
model = dict(target=dict(_delete_=True, type='HOGTarget', cell_size=4))
