"""k-NN with the features of the pre-trained encoder; nothing is trained."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-mini-p4.py',
    '../_base_/datasets/fashion_knn.py',
]

model = dict(
    preprocessor=dict(mean=[72.94], std=[90.02]),
    encoder=dict(img_size=28),
    decoder=dict(depth=2),
    target=dict(norm_pix=True),
)
test_cfg = dict(type='KNNLoop', k=10, temperature=0.02)
