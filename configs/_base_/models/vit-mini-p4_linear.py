"""Linear probe of the frozen encoder of `mae_vit-mini-p4.py`: mean of the patches, BatchNorm."""

_base_ = './vit-mini-p4_cls.py'

model = dict(
    encoder=dict(drop_path_rate=0.0, trainable_pos=False, final_norm=True),
    head=dict(norm='batch', init_std=0.01),
    loss=dict(label_smoothing=0.0),
    trainable_blocks=0,
)
