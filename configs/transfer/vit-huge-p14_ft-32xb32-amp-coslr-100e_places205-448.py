"""ViT-H/14 at 448 pixels, on Places205."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_any.py'

numbers = [str(label) for label in range(205)]  # the lists name no classes
photos = dict(root='data/places205', split='', classes=numbers)
model = dict(
    encoder=dict(arch='huge', patch_size=14, img_size=448, drop_path_rate=0.2),
    head=dict(num_classes=205),
)
train_dataloader = dict(
    batch_size=32, dataset=dict(source=dict(**photos, list_file='lists/train.txt'))
)
val_dataloader = dict(
    batch_size=128,
    dataset=dict(
        source=dict(**photos, list_file='lists/val.txt'),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort'),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
