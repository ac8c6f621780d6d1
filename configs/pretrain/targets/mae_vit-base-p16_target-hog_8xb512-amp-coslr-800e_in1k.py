"""MAE pre-training of ViT-B/16 that predicts MaskFeat's histograms of oriented gradients.

    tools/dist_train.sh mae_vit-base-p16_target-hog_8xb512-amp-coslr-800e_in1k 8

Hardware:  8 GPUs that hold 512 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 4096 a step
Time:      not measured yet
Published: nothing of this recipe. Related: MaskFeat (Wei et al. 2022, arXiv 2112.09133), whose
           encoder sees mask tokens and which has another schedule
Ours:      not measured yet
"""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

model = dict(target=dict(_delete_=True, type='HOGTarget', num_bins=9, cell_size=8))
