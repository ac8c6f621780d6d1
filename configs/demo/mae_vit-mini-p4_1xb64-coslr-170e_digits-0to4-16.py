"""Pre-training on the digits 0 to 4 alone, for transfer to the others."""

_base_ = './mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'

train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='SelectClasses',
            source=dict(type='Digits', split='train'),
            classes=[0, 1, 2, 3, 4],
        )
    )
)
