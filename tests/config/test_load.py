"""What `load_config` refuses, in one line that names the place and what would be right."""

import sys
import warnings

import pytest
from mmengine.config import Config

from mae.config import load_config
from mae.config.check import find_type
from mae.fault_tolerance.checkpoint.state import NAMES
from mae.registry import OPTIMIZERS
from mae.utils.errors import ConfigError

PRETRAIN = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
FINETUNE = 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'
SCRATCH = 'vit-base-p16_scratch-8xb512-amp-coslr-300e_in1k'
PIPELINE = 'train_dataloader.dataset.pipeline'
SOURCE = 'train_dataloader.dataset.source'


@pytest.mark.parametrize(
    ('config', 'key', 'value', 'message'),
    [
        # keys
        (PRETRAIN, 'optim_wrapper.optimzer.lr', 1, 'did you mean optim_wrapper.optimizer?'),
        (PRETRAIN, 'modle.type', 'MAE', 'unknown key modle; did you mean model?'),
        (PRETRAIN, 'zzz', 1, 'unknown key zzz'),
        (PRETRAIN, 'max_epochs', 1, 'key max_epochs; did you mean train_cfg.max_epochs?'),
        (PRETRAIN, 'split', '', f'key split; did you mean {SOURCE}.split?'),
        (PRETRAIN, 'scale', 1, f'key scale; did you mean {PIPELINE}.0.scale?'),
        (
            FINETUNE,
            'batch_size',
            1,
            'did you mean train_dataloader.batch_size or val_dataloader.batch_size or test_data',
        ),
        (PRETRAIN, 'default_scope', 'mmpretrain', 'did you mean mae.GuardHook? default_scope is '),
        (PRETRAIN, f'{PIPELINE}.0.siz', 1, f'did you mean {PIPELINE}.0.size?'),
        (PRETRAIN, 'optim_wrapper.optimizer.momentum', 1, 'of AdamW; known: amsgrad, betas'),
        (PRETRAIN, 'optim_wrapper.paramwise_cfg.layerdecay', 1, 'paramwise_cfg.layer_decay?'),
        (
            PRETRAIN,
            'param_scheduler.warmup_epoch',
            1,
            'did you mean param_scheduler.warmup_epochs?',
        ),
        (PRETRAIN, 'env_cfg.mp_cfg.start_method', 1, 'env_cfg.mp_cfg.mp_start_method?'),
        (PRETRAIN, 'default_hooks.chekpoint.type', 'X', 'did you mean default_hooks.checkpoint?'),
        (
            PRETRAIN,
            'default_hooks.logger.intervall',
            1,
            'did you mean default_hooks.logger.interval?',
        ),
        (PRETRAIN, 'log_processor.windowsize', 1, 'did you mean log_processor.window_size?'),
        (PRETRAIN, 'model_wrapper_cfg.broadcast_bufers', 1, 'model_wrapper_cfg.broadcast_buffers?'),
        (PRETRAIN, 'model.encoder.arch', {'depht': 2}, 'did you mean model.encoder.arch.depth?'),
        (
            PRETRAIN,
            'model.encoder',
            {'_delete_': True, 'typ': 'X'},
            'did you mean model.encoder.type?',
        ),
        (PRETRAIN, 'model.encoder', {'_delete_': True}, 'model.encoder has no type'),
        (PRETRAIN, 'custom_imports.import', 'x', 'did you mean custom_imports.imports?'),
        (
            FINETUNE,
            'model.preprocessor.mixup.alpha',
            1,
            'unknown key model.preprocessor.mixup.alpha',
        ),
        (FINETUNE, 'model.preprocessor.erase.max_cont', 1, 'model.preprocessor.erase.max_count?'),
        (
            SCRATCH,
            'custom_hooks.0.momentun',
            1,
            'of EMAHook; did you mean custom_hooks.0.momentum?',
        ),
        # types
        (PRETRAIN, 'model.type', 'MEA', "'MEA' at model.type; did you mean MAE?"),
        (PRETRAIN, 'model.encoder.type', 'VitEncoder', 'did you mean ViTEncoder?'),
        (
            PRETRAIN,
            f'{PIPELINE}.2.type',
            'RandomFilp',
            f'at {PIPELINE}.2.type; did you mean RandomFlip?',
        ),
        (PRETRAIN, f'{SOURCE}.type', 'ImagFolder', 'did you mean ImageFolder?'),
        (PRETRAIN, f'{SOURCE}.type', 'CUB', 'did you mean mmpretrain.CUB?'),
        (PRETRAIN, f'{SOURCE}.type', 'mmpretrain.CUBB', 'did you mean mmpretrain.CUB?'),
        (
            PRETRAIN,
            f'{SOURCE}.type',
            'mmpertrain.CUB',
            "'mmpertrain'; did you mean mmpretrain?",
        ),
        (PRETRAIN, f'{SOURCE}.type', 'os.path', "unknown type 'os.path'"),
        (PRETRAIN, 'train_dataloader.collate_fn.type', 'collate_encoded', 'collate and Image'),
        (PRETRAIN, 'model.preprocessor.type', 'EncodedPreprocessor', 'decoded in the workers'),
        (PRETRAIN, 'optim_wrapper.optimizer.type', 'AdamWW', 'did you mean AdamW?'),
        (
            PRETRAIN,
            'optim_wrapper.constructor',
            'GroupOptimConstructor',
            'GroupedOptimConstructor?',
        ),
        (
            PRETRAIN,
            'visualizer.vis_backends.0.type',
            'WandBVisBackend',
            'did you mean WandbVisBackend?',
        ),
        (PRETRAIN, 'train_cfg.type', 'TrianLoop', 'did you mean TrainLoop?'),
        (PRETRAIN, 'model.masker.type', 3, 'model.masker.type must be the name'),
        (PRETRAIN, 'default_scope', 'mmpertrain', 'did you mean mmpretrain?'),
        (SCRATCH, 'custom_hooks.0.ema_type', 'ExponentialAverage', 'ExponentialMovingAverage?'),
        # values
        (PRETRAIN, 'base_lr', 'high', "base_lr must be float or None, not 'high'"),
        (PRETRAIN, 'train_dataloader.num_workers', 'two', "must be int or 'auto', not 'two'"),
        (PRETRAIN, 'model.masker.mask_ratio', 'most', "mask_ratio must be float, not 'most'"),
        (PRETRAIN, 'model.encoder.img_size', (1, 2, 3), '(int, int), not (1, 2, 3)'),
        (PRETRAIN, 'model.encoder', 'ViT', "model.encoder must be a dict, not 'ViT'"),
        (PRETRAIN, 'optim_wrapper.optimizer.lr', 'low', "must be float or Tensor, not 'low'"),
        (PRETRAIN, 'custom_hooks', ['EMAHook'], 'custom_hooks.0 must be a dict'),
        (
            PRETRAIN,
            'env_cfg.mp_cfg.mp_start_method',
            'frok',
            "must be 'fork' or 'spawn'",
        ),
        (
            PRETRAIN,
            f'{SOURCE}.split',
            2024,
            f'{SOURCE}.split must be str, not 2024; ',
        ),
        (FINETUNE, 'model.head.pool', 'agv', "model.head.pool must be 'avg' or 'cls', not 'agv'"),
    ],
)
def test_refused(config, key, value, message):
    with pytest.raises(ConfigError) as error:
        load_config(config, {key: value})
    assert message in str(error.value)
    assert '\n' not in str(error.value)
    assert str(error.value).startswith('cfg_options: ')


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.encoder.arch', {'embed_dim': 8, 'depth': 1, 'num_heads': 1}),
        ('model.encoder.img_size', [224, 112]),
        ('model.encoder.drop_path_rate', 0),
        ('optim_wrapper.optimizer.betas', [0.9, 0.95]),
        ('optim_wrapper.optimizer.fused', True),
        ('optim_wrapper.optimizer.type', 'torch.optim.Adam'),
        ('optim_wrapper.clip_grad', {'max_norm': 1.0}),
        ('param_scheduler', [{'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': True}]),
        ('custom_hooks', [{'type': 'EMAHook', 'momentum': 0.1, 'priority': 'NORMAL'}]),
        ('custom_hooks', None),
        ('default_hooks.timer', None),
        ('visualizer.vis_backends.0.type', 'TensorboardVisBackend'),
        ('train_dataloader.prefetch_factor', 4),
        (SOURCE, {'_delete_': True, 'type': 'mmpretrain.CUB', 'data_root': 'x', 'test_mode': True}),
        (SOURCE, {'_delete_': True, 'type': 'CUB', '_scope_': 'mmpretrain', 'data_root': 'x'}),
    ],
)
def test_accepted(key, value):
    config = load_config(PRETRAIN, {key: value})
    node = config
    for part in key.split('.'):
        node = node[int(part) if part.isdigit() else part]
    if not isinstance(value, dict):
        assert node == value


def test_the_file_is_named_where_it_is_to_blame(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("model = dict(type='MAE', encodr=dict(type='ViTEncoder'))")
    with pytest.raises(ConfigError, match=r'^\S+mine\.py: unknown key model\.encodr'):
        load_config(path, {'base_lr': 1.0})


@pytest.mark.parametrize(
    ('text', 'option', 'size', 'begin'),
    [
        ("[dict(type='CenterCrop', size=12)]", {'launcher': 'none'}, 12, 'FILE: '),
        (
            "[dict(type='CenterCrop', size=16)]",
            {'model.encoder.img_size': 8},
            16,
            'cfg_options: ',
        ),
        (
            "[dict(type='CenterCrop'), dict(type='CenterCrop', size=16)]",
            {'model.encoder.img_size': 8},
            16,
            'cfg_options: ',
        ),
    ],
)
def test_the_file_or_the_option_is_to_blame_for_an_image_size(tmp_path, text, option, size, begin):
    file = tmp_path / 'mine.py'
    base = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
    line = f'train_dataloader = dict(dataset=dict(pipeline={text}))'
    file.write_text(f'_base_ = {base!r}\n{line}\n')
    with pytest.raises(ConfigError, match=f'size is {size}, but model.encoder.img_size') as error:
        load_config(file, option)
    assert str(error.value).startswith(begin.replace('FILE', str(file)))


def test_number_for_a_number_of_another_library():
    """mmpretrain writes 4.0 where its default is 4."""
    neck = {'type': 'mmpretrain.MAEPretrainDecoder', 'mlp_ratio': 4.0}
    node = {'_delete_': True, 'type': 'mmpretrain.MAE', 'backbone': {'type': 'mmpretrain.MAEViT'}}
    assert load_config(PRETRAIN, {'model': {**node, 'neck': neck}}).model.neck.mlp_ratio == 4.0
    with pytest.raises(ConfigError, match=r"model\.neck\.mlp_ratio must be int, not 'four'"):
        load_config(PRETRAIN, {'model': {**node, 'neck': {**neck, 'mlp_ratio': 'four'}}})


def test_keys_of_other_openmmlab_configs(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr('mae.config.load.print_log', lambda line, *_: told.append(line))
    path = tmp_path / 'mine.py'
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        "data_preprocessor = dict(type='SelfSupDataPreprocessor', mean=[1.0], std=[1.0])\n"
        "default_hooks = dict(visualization=dict(type='VisualizationHook', enable=False))\n"
        "env_cfg = dict(dist_cfg=dict(backend='nccl'))\n"
        'auto_scale_lr = dict(base_batch_size=4096)\n'
    )
    load_config(path)
    assert told == [
        'env_cfg.dist_cfg.backend has no effect: it is nccl on GPUs and gloo on CPUs',
        'auto_scale_lr.base_batch_size has no effect: base_lr is that of 256 images',
    ]
    with pytest.raises(ConfigError, match=r'unknown key model\.data_preprocessor of MAE; '):
        load_config(PRETRAIN, {'data_preprocessor': {'mean': [1.0]}})


def test_helper_variables_stay_in_the_file(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('_size = 4\nbase_lr = 1.0 * _size')
    assert load_config(path).to_dict() == {'base_lr': 4.0}


def test_a_config_is_checked_and_left_as_it_is():
    config = Config({'base_lr': 1.0})
    assert load_config(config, {'base_lr': 2.0}).base_lr == 2.0
    assert config.base_lr == 1.0
    config.bose_lr = 1.0
    with pytest.raises(ConfigError, match='did you mean base_lr'):
        load_config(config)


def test_custom_imports_register_types(tmp_path, monkeypatch):
    (tmp_path / 'my_parts_of_test_config.py').write_text(
        'from mae.registry import HOOKS\n'
        'from mmengine.hooks import Hook\n'
        '@HOOKS.register_module(force=True)\n'
        'class HookOfTestConfig(Hook):\n'
        '    def __init__(self, every: int = 1): ...\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    hook = {'type': 'HookOfTestConfig', 'every': 2}
    options = {'custom_imports': {'imports': ['my_parts_of_test_config']}, 'custom_hooks': [hook]}
    assert load_config(PRETRAIN, options).custom_hooks == [hook]
    with pytest.raises(ConfigError, match=r'did you mean custom_hooks\.0\.every'):
        load_config(PRETRAIN, {**options, 'custom_hooks': [{**hook, 'evry': 1}]})
    sys.modules.pop('my_parts_of_test_config')


def test_custom_import_that_is_not_there():
    with pytest.raises(ConfigError, match=r'custom_imports: .*no_such_module.*PYTHONPATH'):
        load_config(PRETRAIN, {'custom_imports.imports': 'no_such_module'})


def test_what_may_differ_on_resuming_can_be_named():
    assert load_config(PRETRAIN, {'resume_anyway': list(NAMES)}).resume_anyway == list(NAMES)
    with pytest.raises(ConfigError, match=r'resume_anyway.*seeds'):
        load_config(PRETRAIN, {'resume_anyway': ['seeds']})


def test_keywords_that_a_library_hands_on():
    """A slip is refused; another keyword may be of another model."""
    config = 'mae_vit-mini-p4_target-feature_1xb64-coslr-170e_digits-16'
    options = load_config(config, {'model.target.options.window_size': 7}).model.target.options
    assert options.window_size == 7
    with pytest.raises(ConfigError, match=r'patch_siez; did you mean [^\n]*options.patch_size\?$'):
        load_config(config, {'model.target.options.patch_siez': 4})
    with pytest.raises(ConfigError, match=r'model.target.options.depth must be int'):
        load_config(config, {'model.target.options.depth': 'x'})


def test_parts_that_have_names_are_checked_too():
    """Slips within a dict of named parts, and in the name of their type."""
    for slip, meant in (
        ({'type': 'ImageFolder', 'rooot': 'x'}, r'sources\.a\.rooot .*sources\.a\.root\?$'),
        ({'type': 'ImageFoldr', 'root': 'x'}, r'sources\.a\.type.*ImageFolder'),
    ):
        source = {'type': 'Groups', 'sources': {'a': slip}}
        with pytest.raises(ConfigError, match=meant):
            load_config(
                PRETRAIN,
                {
                    'train_dataloader.dataset': {
                        '_delete_': True,
                        'type': 'SeededDataset',
                        'source': source,
                        'pipeline': [],
                    }
                },
            )


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr('mae.config.check.find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r', as mmpretrain is not .*: pip install mmpretrain$'):
        load_config(PRETRAIN, {f'{SOURCE}.type': 'mmpretrain.Gone'})


def test_what_mmcv_lacks_is_not_said_before_our_line(monkeypatch, recwarn):
    """An unknown name is looked for in mmpretrain, too, whose import lets mmcv warn."""

    def find(registry, name):
        warnings.warn('Fail to import ``MultiScaleDeformableAttention`` from', stacklevel=1)

    monkeypatch.setattr('mae.config.check._get', find)
    with pytest.raises(ConfigError, match="unknown type 'AdamX' at optimizer"):
        find_type('AdamX', (OPTIMIZERS,), 'optimizer', 'mae')
    assert not recwarn.list
