"""Linear probe at five learning rates in one run."""

_base_ = './vit-mini-p4_linear-1xb256-coslr-4e_fashion-28.py'

model = dict(head=dict(type='LinearGridHead', lr_scales=[0.03, 0.1, 0.3, 1.0, 3.0]))
val_evaluator = dict(type='GridAccuracy')
test_evaluator = val_evaluator
