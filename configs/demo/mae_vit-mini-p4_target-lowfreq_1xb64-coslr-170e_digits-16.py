"""Pre-training on PixMIM's low-pass filtered pixels."""

_base_ = './mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'

model = dict(target=dict(type='LowFrequencyTarget'))
