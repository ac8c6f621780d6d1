"""ViT-L/16 on iNaturalist 2019."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_any.py'

photos = dict(_delete_=True, type='JsonImages', root='data/inat2019')
model = dict(encoder=dict(arch='large'), head=dict(num_classes=1010))
train_dataloader = dict(dataset=dict(source=dict(**photos, annotations='train2019.json')))
val_dataloader = dict(dataset=dict(source=dict(**photos, annotations='val2019.json')))
test_dataloader = val_dataloader
