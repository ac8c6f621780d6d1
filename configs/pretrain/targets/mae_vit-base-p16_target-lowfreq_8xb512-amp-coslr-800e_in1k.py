"""MAE pre-training of ViT-B/16 that predicts PixMIM's low-pass filtered pixels.

    tools/dist_train.sh mae_vit-base-p16_target-lowfreq_8xb512-amp-coslr-800e_in1k 8

Hardware:  8 GPUs that hold 512 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 4096 a step
Time:      not measured yet
Published: nothing of this recipe. Related: PixMIM (Liu et al. 2023, arXiv 2303.02416), which
           also crops otherwise
Ours:      not measured yet
"""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

model = dict(target=dict(type='LowFrequencyTarget', cutoff=40 / 224))
