"""Changed maths: ViT-B with a decoder of cross-attention that predicts 25 % of the patches.

    tools/dist_train.sh mae_vit-base-p16_dec-cross-predict25_8xb512-amp-coslr-800e_in1k 8

Hardware:  8 GPUs that hold 512 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 4096 a step
Time:      not measured yet
Published: nothing of this very model. CrossMAE (Fu et al. 2024, arXiv 2401.14391), whose blocks
           read several encoder blocks, ViT-B, 800 epochs, all hidden patches predicted:
           fine-tune 83.722 (its repository)
Ours:      not measured yet
"""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

model = dict(
    masker=dict(predict_ratio=0.25),
    decoder=dict(_delete_=True, type='CrossDecoder', embed_dim=512, depth=12, num_heads=16),
)
