"""Fine-tuning of ViT-B/16 on 1 % of the labels of ImageNet-1k, 500 epochs of those.

    tools/dist_train.sh vit-base-p16_ft-8xb128-amp-coslr-500e_in1k-1pct 8 --load-from PRETRAINED

Hardware:  8 GPUs that hold 128 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 1024 a step
Time:      not measured yet
Published: none known to us
Ours:      not measured yet
Recipe:    that of all labels; the length is our choice: 12 steps an epoch
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-base-p16_cls.py',
    '../_base_/datasets/imagenet_ft-1pct.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 5e-4
model = dict(encoder=dict(drop_path_rate=0.1))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.65))
train_cfg = dict(max_epochs=500, val_interval=50)
