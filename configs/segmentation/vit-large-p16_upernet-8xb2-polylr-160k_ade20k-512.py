"""UperNet with ViT-L/16 on ADE20K; no log is published: learning rate and layer decay are ours."""

_base_ = './vit-base-p16_upernet-8xb2-polylr-160k_ade20k-512.py'

model = dict(
    encoder=dict(arch='large', drop_path_rate=0.2),
    taps=[7, 11, 15, 23],
    head=dict(width=1024),
)
optim_wrapper = dict(optimizer=dict(lr=8e-5), paramwise_cfg=dict(layer_decay=0.8))
