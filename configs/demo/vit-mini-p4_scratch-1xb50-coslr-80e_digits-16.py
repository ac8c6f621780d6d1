"""The rival of fine-tuning: the same network, labels, epochs and augmentation, random weights.

    tools/train.py vit-mini-p4_scratch-1xb50-coslr-80e_digits-16

Hardware:  2 CPU cores
Rate:      the best of .005, .01 and .02 by the mean of three seeds; at .02 seeds fail
"""

_base_ = ['./vit-mini-p4_ft-1xb50-coslr-80e_digits-16.py']

base_lr = 1e-2
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
