"""k-NN with the features of ViT-B/16; the other configs of this folder inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/imagenet_knn.py',
]

test_cfg = dict(type='KNNLoop', k=20, temperature=0.07)
