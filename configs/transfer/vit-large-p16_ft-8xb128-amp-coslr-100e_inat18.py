"""ViT-L/16 on iNaturalist 2018."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_any.py'

photos = dict(_delete_=True, type='JsonImages', root='data/inat2018')
model = dict(encoder=dict(arch='large'), head=dict(num_classes=8142))
train_dataloader = dict(dataset=dict(source=dict(**photos, annotations='train2018.json')))
val_dataloader = dict(dataset=dict(source=dict(**photos, annotations='val2018.json')))
test_dataloader = val_dataloader
