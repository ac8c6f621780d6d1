"""ViT-B/16 on Places365."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_any.py'

numbers = [str(label) for label in range(365)]  # the lists name no classes
photos = dict(root='data/places365', split='', classes=numbers)
model = dict(head=dict(num_classes=365))
train_dataloader = dict(dataset=dict(source=dict(**photos, list_file='lists/train.txt')))
val_dataloader = dict(dataset=dict(source=dict(**photos, list_file='lists/val.txt')))
test_dataloader = val_dataloader
