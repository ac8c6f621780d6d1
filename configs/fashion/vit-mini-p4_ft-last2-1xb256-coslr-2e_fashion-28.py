"""Fine-tuning of the last 2 of 6 blocks on all labels."""

_base_ = './vit-mini-p4_ft-1xb256-coslr-2e_fashion-28.py'

model = dict(trainable_blocks=2)
