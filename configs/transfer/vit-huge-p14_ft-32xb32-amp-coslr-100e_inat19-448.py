"""ViT-H/14 at 448 pixels, on iNaturalist 2019."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_any.py'

photos = dict(_delete_=True, type='JsonImages', root='data/inat2019')
model = dict(
    encoder=dict(arch='huge', patch_size=14, img_size=448, drop_path_rate=0.2),
    head=dict(num_classes=1010),
)
train_dataloader = dict(
    batch_size=32, dataset=dict(source=dict(**photos, annotations='train2019.json'))
)
val_dataloader = dict(
    batch_size=128,
    dataset=dict(
        source=dict(**photos, annotations='val2019.json'),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort'),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
