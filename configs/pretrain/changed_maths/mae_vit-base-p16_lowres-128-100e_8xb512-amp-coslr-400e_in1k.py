"""Changed maths: ViT-B whose first 100 of 400 epochs see images of 128 pixels.

    tools/dist_train.sh mae_vit-base-p16_lowres-128-100e_8xb512-amp-coslr-400e_in1k 8

Hardware:  8 GPUs that hold 512 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 4096 a step
Time:      not measured yet
Published: nothing of this schedule. Related: FastMIM-P (Guo et al. 2022, arXiv 2212.06593) enlarges
           the images while it pre-trains, with other targets; DailyMAE (arXiv 2404.00509)
           has progressive training of MAE
Ours:      not measured yet
"""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

custom_hooks = [dict(type='LowResolutionHook', img_size=128, epochs=100)]
