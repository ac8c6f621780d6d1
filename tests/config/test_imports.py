"""Recipes of other homes come to our shipped configs; what does not is named."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from mae.__main__ import main
from mae.config import load_config
from mae.config.diff import config_differences
from mae.config.imports import as_leaf, leaf, read_command, read_openmmlab
from mae.config.imports.tables import FLAG_ROWS, MODEL_ROWS, RUN_ROWS, full_arch, mlp_ratio_of
from mae.utils.dotted_keys import node_at
from mae.utils.errors import ConfigError
from mae.utils.vit_sizes import ARCHS
from tests.old_recipes import FINETUNE_0X, FINETUNE_1X, LINEAR_1X, PRETRAIN_0X, PRETRAIN_1X, text

MMPRETRAIN = Path(find_spec('mmpretrain').origin).parent / '.mim/configs/mae'
PRETRAIN = sorted(path.name for path in MMPRETRAIN.glob('mae_vit-*.py'))
HIERARCHICAL = sorted(path.name for path in MMPRETRAIN.glob('mae_hivit-*.py'))
# Of their configs: they decay no tokens, the authors do; three checkpoints are kept.
THEIRS = {
    'optim_wrapper.paramwise_cfg.decay_tokens': False,
    'default_hooks.checkpoint.max_keep': 3,
}
KEPT = {'default_hooks.checkpoint.max_keep': 3}
WEAK = [
    {'type': 'DecodeRandomResizedCrop', 'scale': (0.08, 1.0)},
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'PackInputs'},
]
PROBED = {
    **KEPT,
    'default_hooks.logger.interval': 10,
    'train_dataloader.dataset.pipeline': WEAK,
}
SINGLE = {**KEPT, 'optim_wrapper.amp': None}
TESTS = {
    'vit-base-p16_8xb128-coslr-100e': ('vit-base-p16_ft-8xb128-amp-coslr-100e', SINGLE),
    'vit-large-p16_8xb128-coslr-50e': ('vit-large-p16_ft-8xb128-amp-coslr-50e', SINGLE),
    'vit-huge-p14_8xb128-coslr-50e': ('vit-huge-p14_ft-8xb128-amp-coslr-50e', SINGLE),
    'vit-huge-p14_8xb128-fsdp-coslr-50e': (
        'vit-huge-p14_ft-8xb128-amp-coslr-50e',
        {**KEPT, 'parallel': {'type': 'fsdp'}},
    ),
    'vit-large-p16_8xb128-ds-coslr-50e': ('vit-large-p16_ft-8xb128-amp-coslr-50e', KEPT),
    'vit-base-p16_8xb2048-linear-coslr-90e': ('vit-base-p16_linear-8xb2048-amp-coslr-90e', PROBED),
    'vit-large-p16_8xb2048-linear-coslr-90e': (
        'vit-large-p16_linear-8xb2048-amp-coslr-90e',
        PROBED,
    ),
}
MMSELFSUP = {
    'mae_vit-base-p16_8xb512-coslr-400e_in1k': (
        PRETRAIN_0X,
        'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k',
        {**THEIRS, 'optim_wrapper.amp': None},
    ),
    'mae_vit-large-p16_8xb512-fp16-coslr-1600e_in1k': (
        PRETRAIN_1X,
        'mae_vit-large-p16_8xb512-amp-coslr-1600e_in1k',
        THEIRS,
    ),
    'vit-b-p16_ft-8xb128-coslr-100e_in1k': (
        FINETUNE_0X,
        'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k',
        {**SINGLE, 'base_lr': 1e-3},
    ),
    'vit-base-p16_ft-8xb128-coslr-100e_in1k': (
        FINETUNE_1X,
        'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k',
        SINGLE,
    ),
    'vit-base-p16_linear-8xb2048-coslr-90e_in1k': (
        LINEAR_1X,
        'vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k',
        {**KEPT, 'train_dataloader.dataset.pipeline': WEAK},
    ),
}
FINETUNE = (
    'submitit_finetune.py --job_dir J --nodes {} --batch_size {} --model vit_{} --epochs {} '
    '--blr {} --layer_decay {} --weight_decay 0.05 --drop_path {} --reprob 0.25 --mixup 0.8 '
    '--cutmix 1.0 --dist_eval'
)
# The authors' PRETRAIN.md and FINETUNE.md.
COMMANDS = {
    'submitit_pretrain.py --job_dir J --nodes 8 --use_volta32 --batch_size 64 '
    '--model mae_vit_large_patch16 --norm_pix_loss --mask_ratio 0.75 --epochs 800 '
    '--warmup_epochs 40 --blr 1.5e-4 --weight_decay 0.05': (
        'mae_vit-large-p16_8xb512-amp-coslr-800e_in1k',
        {'train_dataloader.batch_size': 64},
    ),
    'python submitit_pretrain.py --nodes 8 --model=mae_vit_large_patch16 --epochs 800 '
    '--blr 1.5e-4': (
        'mae_vit-large-p16_target-pixel_8xb512-amp-coslr-800e_in1k',
        {'train_dataloader.batch_size': 64},
    ),
    FINETUNE.format(4, 32, 'base_patch16', 100, 5e-4, 0.65, 0.1): (
        'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k',
        {'train_dataloader.batch_size': 32},
    ),
    FINETUNE.format(4, 32, 'large_patch16', 50, 1e-3, 0.75, 0.2): (
        'vit-large-p16_ft-8xb128-amp-coslr-50e_in1k',
        {'train_dataloader.batch_size': 32},
    ),
    FINETUNE.format(8, 16, 'huge_patch14', 50, 1e-3, 0.75, 0.3): (
        'vit-huge-p14_ft-8xb128-amp-coslr-50e_in1k',
        {'train_dataloader.batch_size': 16},
    ),
    'OMP_NUM_THREADS=1 python -m torch.distributed.launch --nproc_per_node=8 main_finetune.py \\\n'
    '--accum_iter 4 --batch_size 32 --model vit_base_patch16 --finetune W --epochs 100 --blr 5e-4 '
    '--layer_decay 0.65 --drop_path 0.1 --mixup 0.8 --cutmix 1.0 --reprob 0.25 --data_path D': (
        'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k',
        {
            'train_dataloader.batch_size': 32,
            'load_from': 'W',
            'train_dataloader.dataset.source.root': 'D',
            'val_dataloader.dataset.source.root': 'D',
            'test_dataloader': 'val_dataloader',
        },
    ),
    'submitit_linprobe.py --nodes 4 --batch_size 512 --model vit_base_patch16 --cls_token '
    '--epochs 90 --blr 0.1 --weight_decay 0.0 --dist_eval': (
        'vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k',
        {'train_dataloader.batch_size': 512},
    ),
}


@pytest.fixture(scope='module', autouse=True)
def each_shipped_config_is_loaded_once():
    load, loaded = leaf.load_config, cache(lambda path: load_config(path))
    leaf.load_config = lambda path, options=None: load(path, options) if options else loaded(path)
    yield
    leaf.load_config = load


def imported(path, **options):
    return as_leaf(read_openmmlab(path, **options))


@pytest.mark.parametrize('name', PRETRAIN)
def test_pretraining_of_mmpretrain(name):
    found = imported(MMPRETRAIN / name)
    assert (found.base, found.values) == (name.removesuffix('.py'), THEIRS)
    assert [line.partition('=')[0] for line in found.left_out] == [
        'resume',
        'optim_wrapper.loss_scale',
        'param_scheduler.0.start_factor',
    ]


def test_there_are_fifteen():
    assert len(PRETRAIN) == 9
    assert len(HIERARCHICAL) == 6


@pytest.mark.parametrize('name', HIERARCHICAL)
def test_hierarchical_encoders_are_refused(name):
    with pytest.raises(ConfigError, match=rf"{name}: model.backbone.type='MAEHiViT' is not sup"):
        imported(MMPRETRAIN / name)


@pytest.mark.parametrize('name', TESTS)
def test_classifiers_of_mmpretrain(name):
    base, values = TESTS[name]
    found = imported(MMPRETRAIN / f'benchmarks/{name}_in1k.py')
    assert (found.base, found.values) == (f'{base}_in1k', values)


def test_a_name_that_is_no_batch():
    """The file of 448 pixels is called 32xb8 and has 128 images a device."""
    found = imported(MMPRETRAIN / 'benchmarks/vit-huge-p14_32xb8-coslr-50e_in1k-448px.py')
    config = load_config(found.base, {'model.encoder.img_size': 448})
    assert found.base.startswith('vit-huge-p14_ft-')
    assert found.values == {**SINGLE, 'model.encoder.img_size': 448}
    assert (config.global_batch_size, config.base_lr) == (1024, 1e-3)
    assert any(line.startswith("name='32xb8'") for line in found.left_out)


@pytest.mark.parametrize('name', MMSELFSUP)
def test_mmselfsup(name, write):
    values, base, differing = MMSELFSUP[name]
    found = imported(write(f'{name}.py', text(values)))
    assert (found.base, found.values) == (base, differing)


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_of_the_authors(command):
    base, differing = COMMANDS[command]
    found = as_leaf(read_command(command))
    assert (found.base, found.values) == (base, differing)


def test_what_is_written_comes_to_base_and_values(write, tmp_path):
    old = write('mae_vit-base-p16_8xb512-coslr-400e_in1k.py', text(PRETRAIN_0X))
    found = imported(old)
    new = write('new.py', found.text)
    first, second = (load_config(path).to_dict() for path in (found.base, new))
    changed = {one.key: one.second for one in config_differences(first, second)}
    assert changed == found.values
    assert 'Not carried over:' in found.text


def test_values_that_differ_are_carried_over(write):
    small = {'embed_dims': 192, 'num_layers': 4, 'num_heads': 3, 'feedforward_channels': 768}
    model = {**PRETRAIN_1X['model'], 'backbone': {'type': 'MAEViT', 'arch': small}}
    wrapper = {**PRETRAIN_1X['optim_wrapper'], 'accumulative_counts': 2}
    wrapper['clip_grad'] = {'max_norm': 1.0}
    changed = {
        'model': model,
        'optim_wrapper': wrapper,
        'custom_hooks': [{'type': 'Mine'}],
        'sync_bn': 'torch',
    }
    found = imported(write('mine.py', text({**PRETRAIN_1X, **changed})), devices=2)
    assert (
        found.values.items()
        >= {
            'model.encoder.arch': {'embed_dim': 192, 'depth': 4, 'num_heads': 3},
            'optim_wrapper.clip_grad': {'max_norm': 1.0},
            'global_batch_size': 2048,
            'base_lr': 3e-4,
        }.items()
    )
    named = '\n'.join(found.left_out)
    assert "custom_hooks=[{'type': 'Mine'}]" in named
    assert "sync_bn='torch'" in named
    load_config(write('new.py', found.text))


@pytest.mark.parametrize(
    ('theirs', 'arch', 'ratio'),
    [
        ('b', 'base', None),
        ('deit-small', 'small', None),
        ('s', {'embed_dim': 768, 'depth': 8, 'num_heads': 8}, 3.0),  # mmpretrain's own
        (
            {'embed_dims': 96, 'num_layers': 2, 'num_heads': 3, 'feedforward_channels': 192},
            {'embed_dim': 96, 'depth': 2, 'num_heads': 3},
            2.0,
        ),
    ],
)
def test_sizes_of_a_vit(theirs, arch, ratio, write):
    model = {**PRETRAIN_1X['model'], 'backbone': {'type': 'MAEViT', 'arch': theirs}}
    recipe = read_openmmlab(write('mine.py', text({**PRETRAIN_1X, 'model': model})), devices=8)
    assert recipe.values['model.encoder.arch'] == arch
    assert recipe.values.get('model.encoder.mlp_ratio') == ratio


def test_sizes_of_mmpretrain():
    from mmpretrain.models import VisionTransformer  # takes seconds

    widths = ('embed_dims', 'num_layers', 'num_heads')
    for name in ('s', 'small', 'b', 'base', 'l', 'large', 'h', 'huge', 'deit-t', 'deit-tiny'):
        ours, theirs = full_arch(name), VisionTransformer.arch_zoo[name]
        sizes = ours if isinstance(ours, dict) else ARCHS[ours]
        assert [*sizes.values()] == [theirs[key] for key in widths]
        assert mlp_ratio_of(name) == theirs['feedforward_channels'] / theirs['embed_dims']


def test_without_a_pipeline_that_of_the_shipped_config_stays(write):
    loader = {'batch_size': 512, 'dataset': {'type': 'ImageNet'}}
    changed = {**PRETRAIN_1X, 'train_dataloader': loader}
    found = imported(write('mine.py', text(changed)), devices=8)
    assert not any('pipeline' in key for key in found.values)
    assert any(line.startswith('train_dataloader.dataset.pipeline is') for line in found.left_out)


MAE_OF = "model = dict(type='MAE', backbone=dict(type='MAEViT', "
BAD = {
    'a = 1': 'is no config of mmselfsup or mmpretrain: it has no model.type$',
    "model = dict(type='SimMIM', backbone=dict(type='x'))": "model.type='SimMIM' is not imported",
    "model = dict(type='MAE', backbone=dict(type='SimMIMSwin'))": "'SimMIMSwin' is not supported",
    'import os\nx = os.getcwd()': r':1: `import` is not run in an import; write the values out',
    "a = open('x').read()": r":1: `open\('x'\).read\(\)` is not run",
    'a = ().__class__': r':1: `.__class__` is not run',
    "a = '{{$HOME:x}}'": r':1: `{{\$...}}` is not run',
    'dict = list\na = dict(1)': r':2: `dict\(\)` is not run',
    'a = print': r':1: `print` is not run',
    "model = dict(type='MAE', backbone=dict(type='MAEViT'))": 'train_dataloader.batch_size is miss',
    "a = sorted(['1'], key=eval)": r':1: `eval` is not run',
    'match eval:\n    case dict:\n        a = dict(1)': r':1: `match` is not run',
    "a = sorted('1', key=(i for i in [1]).gi_frame.f_builtins['eval'])": r'`\.f_builtins` is not',
    "for _base_ in [(i for i in 'a')]:\n    a = _base_.gi_frame": r':1: `_base_` that is assigned',
    "_base_ = ['./b.py'] + []": r":1: `_base_ = \['./b.py'\] \+ \[\]` is not run",
    "_base_ = 'mmpretrain::../b.py'": r':1: `_base_ = .*` is not run',
    "a = '{{ fileDirname }}'": r':1: `{{ fileDirname }}` is not run',
    f"{MAE_OF}arch='zz'))": r"bad.py: .*arch='zz' is not known; give one of b, base, .* or a dict",
    f"{MAE_OF}arch={{'num_layers': 3}}))": 'is not known; .* a dict of embed_dims, num_layers',
    'a = (': r"bad.py:1: '\(' was never closed",
}


@pytest.mark.parametrize('config', BAD)
def test_bad_configs(config, write):
    with pytest.raises(ConfigError, match=BAD[config]) as error:
        imported(write('bad.py', config))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('kind', ['SGD', 'Lion'])
def test_other_optimizers_are_refused_by_name(kind, write):
    wrapper = {**PRETRAIN_1X['optim_wrapper'], 'optimizer': {'type': kind, 'lr': 0.1}}
    with pytest.raises(ConfigError, match=rf"bad\.py: .*type='{kind}' is not imported; AdamW and"):
        imported(write('bad.py', text({**PRETRAIN_1X, 'optim_wrapper': wrapper})), devices=8)


def test_endless_nesting(write):
    with pytest.raises(ConfigError, match=r'bad\.py is not a Python file'):
        imported(write('bad.py', f'a = {"-" * 100_000}1'))


def test_a_yaml_file_is_not_even_read(write, tmp_path):
    ran = tmp_path / 'ran'
    write('evil.yaml', f'a: !!python/object/apply:os.mkdir [{ran}]')
    with pytest.raises(ConfigError, match=r'evil.yaml is not read in an import; .* Python files$'):
        imported(write('bad.py', "_base_ = 'evil.yaml'"))
    assert not ran.exists()


def test_what_states_values_is_run(write):
    write('old.py', text(PRETRAIN_1X))
    lines = (
        "_base_ = ['old.py']",
        'epochs = [2 * i for i in range(9)]',
        'train_cfg = dict(max_epochs=epochs[-1] if len(epochs) > 1 else 7)',
        'model = dict(neck=dict(decoder_depth=_base_.model.neck.decoder_depth // 2))',
        'train_dataloader = dict(batch_size={{_base_.train_dataloader.batch_size}})',
    )
    found = imported(write('mine.py', '\n'.join(lines)), devices=8)
    assert found.values['train_cfg.max_epochs'] == 16
    assert found.values['model.decoder.depth'] == 4


def with_batch_and_rate(batch, lr):
    dataset = PRETRAIN_1X['train_dataloader']['dataset']
    optimizer = {**PRETRAIN_1X['optim_wrapper']['optimizer'], 'lr': lr}
    return {
        **PRETRAIN_1X,
        'train_dataloader': {'batch_size': batch, 'dataset': dataset},
        'optim_wrapper': {**PRETRAIN_1X['optim_wrapper'], 'optimizer': optimizer},
    }


def test_other_bad_values(write):
    values = {**PRETRAIN_1X, 'optim_wrapper': 3}
    for changed, message in (
        (with_batch_and_rate(-4, 1e-3), 'a global batch of -32; batch, accumulation and devices'),
        (with_batch_and_rate(4, -1.0), 'a learning rate of -1.0; it must be above 0'),
        (PRETRAIN_1X, 'does not say for how many devices .*: add --devices N$'),
        (values, 'optim_wrapper.optimizer.lr is missing|has another form'),
        ({**PRETRAIN_1X, 'param_scheduler': 'cosine'}, 'has another form than in mmpretrain'),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            imported(write('bad.py', text(changed)), devices=None if 'add' in message else 8)
        assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        ('train.py --lr 1', 'the command calls none of main_pretrain.py'),
        ('', 'calls none .*: it is empty'),
        ("main_pretrain.py --model '", 'the command cannot be read: No closing quotation'),
        (
            'main_pretrain.py --epochs many',
            'main_pretrain.py: argument --epochs: invalid int value',
        ),
        ('main_pretrain.py --epochs', 'argument --epochs: expected one argument'),
        ('main_pretrain.py --batch_size 0', '--batch_size 0: it must be at least 1'),
        ('main_pretrain.py --accum_iter -1', '--accum_iter -1: it must be at least 1'),
        ('main_pretrain.py --blr nan', '--blr nan: it must be above 0'),
        ('main_pretrain.py --blr 0', '--blr 0.0: it must be above 0'),
        ('main_finetune.py --lr -0.001', '--lr -0.001: it must be above 0'),
        ('submitit_pretrain.py --nodes 0', '--nodes 0: it must be at least 1'),
        ('main_pretrain.py --mask_ratio 1', '--mask_ratio 1.0: it must be at least 0 and below 1'),
        ('main_pretrain.py --weight_decay -1', '--weight_decay -1.0: it must be at least 0'),
        ('main_pretrain.py --input_size 225', 'a multiple of the patches of 14|16'),
        ('main_finetune.py --layer_decay 1.5', 'it must be above 0 and at most 1'),
        ('main_finetune.py --drop_path inf', '--drop_path inf: it must be at least 0 and below 1'),
        ('main_finetune.py --cutmix_minmax .2 2', '--cutmix_minmax 2.0: .* between 0 and 1'),
        ('main_finetune.py --cutmix_minmax .2', '--cutmix_minmax 0.2: it must be two numbers'),
        ('main_finetune.py --cutmix_minmax .8 .2', 'two numbers, the smaller one first'),
        (
            'main_finetune.py --aa original',
            "--aa original: it must be one of timm's policies rand-",
        ),
        ('torchrun --nproc_per_node=² main_pretrain.py', '=²: not a number of devices'),
        ('main_finetune.py --mixup_mode all', 'must be one of batch, pair, elem'),
        ('main_linprobe.py --nb_classes 0', '--nb_classes 0: it must be at least 1'),
        ('main_pretrain.py --model vit_base_patch16', 'did you mean mae_vit_base_patch16'),
        (
            'torchrun --nproc_per_node gpu main_pretrain.py',
            'not a number of devices; add --devices',
        ),
    ],
)
def test_bad_commands(command, message):
    with pytest.raises(ConfigError, match=message):
        as_leaf(read_command(command))


@pytest.mark.parametrize('block', ['with read_base():', "if '_base_':"])
def test_new_style_of_mmpretrain_names_its_twin(block, write):
    text = f'from mmengine.config import read_base\n\n{block}\n    from .._base_.a import *\n'
    for name, twin in (
        (
            'mae_vit_base_p16_8xb512_amp_coslr_300e_in1k',
            'mae_vit-base-p16_8xb512-amp-coslr-300e_in1k',
        ),
        ('vit_base_p16_8xb128_coslr_100e_in1k', 'vit-base-p16_8xb128-coslr-100e_in1k'),
        ('mine', 'that it stands beside'),
    ):
        with pytest.raises(ConfigError, match=rf'{name}\.py:3: .*`read_base`.* old style') as error:
            imported(write(f'{name}.py', text))
        assert twin in str(error.value)
        assert '\n' not in str(error.value)


def test_new_names_are_the_old_with_other_dashes():
    from mae.config.imports.harmless import old_style_name

    for name in PRETRAIN:
        stem = Path(name).stem
        assert old_style_name(stem.replace('-', '_')) == f'{stem}.py'
    assert old_style_name('mine') == ''


def test_flags_that_are_unknown_or_do_nothing_are_named():
    found = as_leaf(read_command('main_pretrain.py --blr 1.5e-4 --fancy --resume W', devices=64))
    assert found.left_out[0] == '--fancy: no flag of main_pretrain.py'
    assert found.left_out[1].startswith("--resume='W': `mae train")
    assert not any('launcher' in line for line in found.left_out)


def test_the_command(write, tmp_path, capsys):
    old = write('mae_vit-large-p16_8xb512-fp16-coslr-1600e_in1k.py', text(PRETRAIN_1X))
    main(['config', 'import', str(old)])
    printed = capsys.readouterr().out
    assert "_base_ = 'mae_vit-large-p16_8xb512-amp-coslr-1600e_in1k'" in printed
    new = tmp_path / 'new.py'
    main(['config', 'import', str(old), '--out', str(new)])
    said = capsys.readouterr().out
    assert new.read_text() == printed
    assert said.startswith(f'wrote {new}: mae_vit-large-p16_8xb512-amp-coslr-1600e_in1k, and 2')
    assert 'not carried over: resume=True' in said
    for words, message in (
        ([str(old), '--out', str(new)], 'new.py exists already'),
        (['gone.py'], 'no such file: gone.py'),
        ([str(old), '--command', 'x'], 'not allowed with argument'),
    ):
        with pytest.raises(SystemExit) as end:
            main(['config', 'import', *words])
        assert end.value.code
        assert message in capsys.readouterr().err + str(end.value.code)


@pytest.mark.parametrize('job', FLAG_ROWS)
def test_rows_name_keys_that_exist(job):
    """In a config of the job, or one that its classes or the runner take."""
    base = {
        'pretrain': PRETRAIN[0].removesuffix('.py'),
        'ft': TESTS['vit-base-p16_8xb128-coslr-100e'][0] + '_in1k',
    }
    config = load_config(base.get(job, 'vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k'))
    for row in (*FLAG_ROWS[job], *MODEL_ROWS[job], *RUN_ROWS):
        assert row.new or row.why, row
        if row.new:
            known = node_at(config, row.new) is not None or row.new in (
                *('load_from', 'work_dir', 'optim_wrapper.clip_grad', 'train_cfg.val_interval'),
                *('default_hooks.checkpoint.save_best', 'model.preprocessor.mixup.mode'),
                *('model.preprocessor.mixup.cutmix_minmax', 'model.encoder.drop_path_rate'),
                *('model.decoder.mlp_ratio', 'model.loss.label_smoothing'),
            )
            assert known, row
