"""k-NN with the features of the pre-trained encoder; nothing is trained."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-mini-p4.py',
    '../_base_/datasets/crops_knn.py',
]

model = dict(
    preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    encoder=dict(img_size=32, patch_size=8, in_channels=3),
    decoder=dict(depth=2),
    target=dict(norm_pix=True),
)
test_cfg = dict(type='KNNLoop', k=10, temperature=0.02)
