"""Linear probes of ViT-H/14 on the realms of OmniBenchmark."""

_base_ = './vit-base-p16_probe-8xb512_omni.py'

model = dict(encoder=dict(arch='huge', patch_size=14))
