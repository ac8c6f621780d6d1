"""Partial fine-tuning of ViT-L/16: the MLP of the last block, 200 epochs of ImageNet-1k.

    tools/dist_train.sh vit-large-p16_ft-half-8xb128-amp-coslr-200e_in1k 8 --load-from PRETRAINED

Hardware:  8 GPUs that hold 128 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 1024 a step
Time:      not measured yet
Published: 79.1 (paper figure 9)
Ours:      not measured yet
Length:    the paper takes the best of 50, 100 and 200 epochs, fewer blocks longer
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-large-p16_cls.py',
    '../_base_/datasets/imagenet_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 1e-3
model = dict(encoder=dict(drop_path_rate=0.1), trainable_blocks=0.5)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
train_cfg = dict(max_epochs=200)
