"""PixMIM's low-pass filtered pixels."""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

model = dict(target=dict(type='LowFrequencyTarget', cutoff=40 / 224))
train_cfg = dict(max_epochs=800)
