"""Linear probe of ViT-B/16, 90 epochs of ImageNet-1k.

    tools/dist_train.sh vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k 8 --load-from PRETRAINED

Hardware:  8 GPUs that hold 2048 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 16384 a step
Time:      not measured yet
Published: 67.8 (authors' repository), 68.0 (paper)
Ours:      not measured yet
Length:    90 epochs as published
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-base-p16_linear.py',
    '../_base_/datasets/imagenet_linear.py',
    '../_base_/schedules/lars_coslr_linear.py',
]

train_cfg = dict(max_epochs=90)
