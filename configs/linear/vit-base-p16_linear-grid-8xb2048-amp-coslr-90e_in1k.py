"""Linear probe of ViT-B/16 at seven learning rates in one run, 90 epochs of ImageNet-1k.

    tools/dist_train.sh vit-base-p16_linear-grid-8xb2048-amp-coslr-90e_in1k 8 --load-from PRETRAINED

Hardware:  8 GPUs that hold 2048 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 16384 a step
Time:      not measured yet
Published: 67.8 (authors' repository), 68.0 (paper), both at scale 1
Ours:      not measured yet
Results:   top1_lr_x1 is the published protocol; top1 is the best of the grid, chosen on
           the validation images
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-base-p16_linear.py',
    '../_base_/datasets/imagenet_linear.py',
    '../_base_/schedules/lars_coslr_linear.py',
]

model = dict(head=dict(type='LinearGridHead', lr_scales=[0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]))
val_evaluator = dict(type='GridAccuracy')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=90)
