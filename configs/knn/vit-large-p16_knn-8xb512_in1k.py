"""k-NN with the features of a pre-trained ViT-L/16, ImageNet-1k: nothing is trained.

    tools/dist_test.sh vit-large-p16_knn-8xb512_in1k CHECKPOINT 8

Hardware:  8 GPUs, or any number: each image counts once. The bank is 1.28 M features
Time:      not measured yet
Published: not measured yet (none known)
Ours:      not measured yet
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-large-p16.py',
    '../_base_/datasets/imagenet_knn.py',
]

test_cfg = dict(type='KNNLoop', k=20, temperature=0.07)
