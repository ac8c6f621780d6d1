"""A decoder of cross-attention alone, which predicts 25 % of the patches."""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

model = dict(
    masker=dict(predict_ratio=0.25),
    decoder=dict(_delete_=True, type='CrossDecoder', embed_dim=512, depth=12, num_heads=16),
)
train_cfg = dict(max_epochs=800)
