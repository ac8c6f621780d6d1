"""Pre-training on 3,200 scenes of digits; none of them has labels elsewhere."""

_base_ = './mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'

model = dict(
    preprocessor=dict(mean=[35.0], std=[71.0]),
    encoder=dict(arch=dict(embed_dim=64, depth=4), img_size=24),
    decoder=dict(depth=2),
)
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='DigitScenes',
            num_scenes=3200,
            task='images',
            img_size=24,
            digits=(2, 4),
            sizes=(11, 11),
            step=4,
            seed=100,
            is_cached=True,
        ),
        pipeline=[dict(type='PackInputs')],
    ),
)
param_scheduler = dict(warmup_epochs=10)
train_cfg = dict(max_epochs=240)
