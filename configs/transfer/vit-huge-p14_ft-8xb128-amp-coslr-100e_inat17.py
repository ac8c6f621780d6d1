"""ViT-H/14 on iNaturalist 2017."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_any.py'

photos = dict(_delete_=True, type='JsonImages', root='data/inat2017')
model = dict(
    encoder=dict(arch='huge', patch_size=14, drop_path_rate=0.2), head=dict(num_classes=5089)
)
train_dataloader = dict(dataset=dict(source=dict(**photos, annotations='train2017.json')))
val_dataloader = dict(dataset=dict(source=dict(**photos, annotations='val2017.json')))
test_dataloader = val_dataloader
