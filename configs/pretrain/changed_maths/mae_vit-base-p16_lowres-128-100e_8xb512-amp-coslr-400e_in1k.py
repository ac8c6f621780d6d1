"""Images of 128 pixels for the first 100 of 400 epochs."""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

custom_hooks = [dict(type='LowResolutionHook', img_size=128, epochs=100)]
