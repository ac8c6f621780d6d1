"""Fine-tuning on 50 labelled digits from 5 to 9, 10 a class: transfer to unseen classes."""

_base_ = './vit-mini-p4_ft-1xb50-coslr-80e_digits-16.py'

_digits = {
    split: dict(
        type='SelectClasses', source=dict(type='Digits', split=split), classes=[5, 6, 7, 8, 9]
    )
    for split in ('train', 'val')
}
model = dict(head=dict(num_classes=5))
train_dataloader = dict(dataset=dict(source=dict(source=dict(_delete_=True, **_digits['train']))))
val_dataloader = dict(dataset=dict(source=dict(_delete_=True, **_digits['val'])))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
