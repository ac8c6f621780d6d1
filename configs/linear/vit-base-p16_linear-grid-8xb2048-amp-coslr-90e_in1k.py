"""Linear probe of ViT-B/16 at seven learning rates in one run."""

_base_ = './vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k.py'

model = dict(head=dict(type='LinearGridHead', lr_scales=[0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]))
val_evaluator = dict(type='GridAccuracy')
test_evaluator = val_evaluator
