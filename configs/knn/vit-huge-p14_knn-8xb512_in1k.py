"""k-NN with the features of ViT-H/14."""

_base_ = './vit-base-p16_knn-8xb512_in1k.py'

model = dict(encoder=dict(arch='huge', patch_size=14))
