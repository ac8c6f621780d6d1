"""MaskFeat's histograms of oriented gradients."""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

model = dict(target=dict(_delete_=True, type='HOGTarget', num_bins=9, cell_size=8))
train_cfg = dict(max_epochs=800)
