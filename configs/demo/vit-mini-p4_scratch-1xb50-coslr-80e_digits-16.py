"""The rival of fine-tuning: the same network, labels, epochs and augmentation, random weights.

    tools/train.py vit-mini-p4_scratch-1xb50-coslr-80e_digits-16 --cfg-options base_lr=2e-2

Hardware:  2 CPU cores
"""

_base_ = ['./vit-mini-p4_ft-1xb50-coslr-80e_digits-16.py']

base_lr = 1e-2
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
