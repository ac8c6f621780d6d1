"""The demo's pre-training, with MaskFeat's histograms of oriented gradients as the target.

    tools/train.py mae_vit-mini-p4_target-hog_1xb64-coslr-170e_digits-16

Hardware:  2 CPU cores
Time:      3 to 4 minutes of one core
"""

_base_ = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'

# One cell of 4x4 pixels a patch: 9 values.
model = dict(target=dict(_delete_=True, type='HOGTarget', cell_size=4))
