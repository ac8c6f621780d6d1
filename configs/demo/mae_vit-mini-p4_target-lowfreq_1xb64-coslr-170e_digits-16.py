"""The demo's pre-training, with PixMIM's low-pass filtered pixels as the target.

    tools/train.py mae_vit-mini-p4_target-lowfreq_1xb64-coslr-170e_digits-16

Hardware:  2 CPU cores
Time:      3 to 4 minutes of one core
"""

_base_ = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'

model = dict(target=dict(type='LowFrequencyTarget'))
