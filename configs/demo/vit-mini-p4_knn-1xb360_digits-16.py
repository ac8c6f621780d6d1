"""k-NN with the features of the pre-trained encoder; nothing is trained."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-mini-p4.py',
    '../_base_/datasets/digits_knn.py',
]

test_cfg = dict(type='KNNLoop', k=10, temperature=0.02)
