"""Whole checkpoints in whatever is usually wrapped around them; and what cannot be told apart."""

import argparse
import re
from pathlib import Path

import pytest
import timm
import torch

from mae.apis import convert
from mae.utils.errors import CheckpointError
from mae.zoo.formats import load_weights

PATH = Path('x.pth')


@pytest.fixture(scope='module')
def base():
    torch.manual_seed(0)
    return timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=4, num_classes=5,
        global_pool='token',
    ).state_dict()  # fmt: skip


@pytest.fixture
def mae(base):
    """In our names, with a decoder."""
    weights = {f'encoder.{n}': v for n, v in base.items() if not n.startswith('head.')}
    blocks = {n: v for n, v in base.items() if n.startswith(('blocks.', 'norm.'))}
    weights |= {f'decoder.{name}': value for name, value in blocks.items()}
    tokens = {'decoder.mask_token': (1, 1, 48), 'decoder.pos_embed': (1, 17, 48)}
    layers = {'decoder.embed': (48, 48), 'decoder.pred': (192, 48)}
    weights |= {name: torch.randn(shape) for name, shape in tokens.items()}
    weights |= {f'{name}.weight': torch.randn(shape) for name, shape in layers.items()}
    return weights | {f'{name}.bias': torch.randn(shape[0]) for name, shape in layers.items()}


def read(checkpoint, tmp_path, key=None):
    torch.save(checkpoint, tmp_path / PATH)
    return load_weights(tmp_path / PATH, key=key)


def prefixed(prefix, weights):
    return {f'{prefix}{name}': value for name, value in weights.items()}


def inside(prefix, weights):
    return {n.replace('blocks.0.', f'blocks.0.{prefix}'): value for n, value in weights.items()}


def headless(weights):
    return {name: value for name, value in weights.items() if not name.startswith('head.')}


EXTRA = {'val_acc.tp': torch.zeros(5)}
CLASSIFIER = {'classifier.weight': torch.zeros(5, 48), 'classifier.bias': torch.zeros(5)}
FSDP = '_fsdp_wrapped_module.'
WHOLE = {
    'model': lambda w: {'model': w, 'epoch': 3},
    'model_state_dict': lambda w: {'epoch': 3, 'model_state_dict': w},
    'any other name': lambda w: {'net': w, 'loss': torch.tensor(1.0)},
    'a dict in a dict': lambda w: {'checkpoint': {'model': {'weights': w}}, 'step': 1},
    'DeepSpeed': lambda w: {'module': w, 'dp_world_size': 8, 'optimizer': None},
    'DDP': lambda w: prefixed('module.', w),
    'DDP of a model': lambda w: {'state_dict': prefixed('module.model.', w)},
    'a model of DDP': lambda w: {'state_dict': prefixed('model.module.', w)},
    'compiled': lambda w: prefixed('_orig_mod.', w),
    'compiled DDP': lambda w: {'model': prefixed('module._orig_mod.', w)},
    'compiled by blocks': lambda w: inside('_orig_mod.', w),
    'FSDP': lambda w: {'model': prefixed(FSDP, inside(FSDP, w))},
    'checkpointed activations': lambda w: inside('_checkpoint_wrapped_module.', w),
    'Lightning': lambda w: {'state_dict': prefixed('model.', w), 'hyper_parameters': {'lr': 0.1}},
    'Lightning with a metric': lambda w: {'state_dict': {**prefixed('model.', w), **EXTRA}},
    'Fabric': lambda w: prefixed('_forward_module.', w),
    'AveragedModel': lambda w: {'n_averaged': torch.tensor(3), **prefixed('module.', w)},
    'averages alone': lambda w: {'state_dict_ema': w},
    'DINO with one network': lambda w: {'teacher': prefixed('backbone.', w), 'epoch': 3},
    'BYOL with one network': lambda w: {'state_dict': prefixed('online_network.', w)},
    'with a command line': lambda w: {
        'args': argparse.Namespace(lr=0.1, output_dir=Path('out')), 'arch': 'vit', 'state_dict': w,
        'version': torch.__version__,
    },
    'with a config': lambda w: {'config': {'image_size': 999}, 'metadata': 3, 'model': w},
}  # fmt: skip


@pytest.mark.parametrize('wrapping', WHOLE)
@pytest.mark.parametrize('names', ['timm', 'mae'])
def test_whole_weights_are_found(wrapping, names, base, mae, tmp_path):
    weights = base if names == 'timm' else mae
    plain = read(weights, tmp_path)['state_dict']
    assert len(plain) == len(weights)
    found = read(WHOLE[wrapping](weights), tmp_path)
    assert found['state_dict'].keys() == plain.keys()
    assert all(torch.equal(found['state_dict'][name], plain[name]) for name in plain)
    assert 'num_heads' not in found['facts']  # nobody stated it


def test_what_lies_beside_is_left_out_with_a_word(base, tmp_path):
    found = read({'state_dict': {**prefixed('model.', base), **EXTRA}}, tmp_path)
    assert any(re.search('left out .*: val_acc$', note) for note in found['notes'])
    found = read({**prefixed('backbone.', headless(base)), **CLASSIFIER}, tmp_path)
    assert any(re.search('left out .*: classifier$', note) for note in found['notes'])
    assert len(found['state_dict']) == len(headless(base))
    found = read({**base, **EXTRA}, tmp_path)
    assert any(note.startswith('left out val_acc.tp, ') for note in found['notes'])
    assert 'found under net' in read({'net': base}, tmp_path)['notes']


@pytest.mark.parametrize(
    'extra',
    [
        *('blocks.0.ls1.gamma', 'norm_pre.weight', 'reg_token', 'cls_tokex', 'head.weights'),
        *('patch_embed.norm.weight', 'blocks.0.attn.relative_position_bias_table'),
    ],
)
def test_what_may_belong_to_the_model_is_refused(extra, base, tmp_path):
    shape = (1, 4, 48) if 'tok' in extra else (48,)
    with pytest.raises(CheckpointError, match=rf'names of timm.*{extra} is unknown'):
        read({**base, extra: torch.ones(shape)}, tmp_path)


def halved(weights):
    return {name: value / 2 for name, value in weights.items()}


def advised(error):
    """The `--key` that a message tells to give."""
    return re.search(r'--to mae --key (\S+)', str(error))[1]


@pytest.mark.parametrize(
    ('plain', 'average'),
    [
        *(('state_dict', 'state_dict_ema'), ('model', 'model_ema'), ('model', 'ema')),
        *(('state_dict', 'ema_state_dict'), ('params', 'swa_params')),
    ],
)
def test_of_weights_and_averages_the_weights(plain, average, base, tmp_path):
    found = read({average: halved(base), plain: base}, tmp_path)
    assert torch.equal(found['state_dict']['encoder.cls_token'], base['cls_token'])
    (note,) = (line for line in found['notes'] if 'other weights' in line)
    assert f'took {plain}; {average} holds other weights' in note
    assert f'--key {average} takes' in note
    found = read({average: halved(base), plain: base}, tmp_path, key=average)
    assert torch.equal(found['state_dict']['encoder.cls_token'], base['cls_token'] / 2)


def test_averages_among_the_prefixes(base, tmp_path):
    both = {**prefixed('ema_model.module.', halved(base)), **prefixed('model.', base)}
    found = read({'state_dict': both}, tmp_path)
    assert torch.equal(found['state_dict']['encoder.cls_token'], base['cls_token'])


PAIRS = {
    'DINO': lambda one, two: {
        'student': prefixed('module.backbone.', one), 'teacher': prefixed('backbone.', two),
    },
    'DINO in one dict': lambda one, two: {
        **prefixed('student.', one), **prefixed('teacher.', two),
    },
    'MoCo': lambda one, two: {
        'state_dict': {
            **prefixed('module.base_encoder.', one), **prefixed('module.momentum_encoder.', two),
        }
    },
    'BYOL': lambda one, two: {
        **prefixed('online_network.', one), **prefixed('target_network.', two),
    },
    'two files in one': lambda one, two: {'model': one, 'state_dict': two},
}  # fmt: skip


@pytest.mark.parametrize('pair', PAIRS)
def test_of_two_models_none_is_guessed(pair, base, tmp_path):
    checkpoint = PAIRS[pair](base, halved(base))
    with pytest.raises(
        CheckpointError, match=r'holds 2 models: .*, .*; choose one with '
    ) as caught:
        read(checkpoint, tmp_path)
    assert '\n' not in str(caught.value)
    key = advised(caught.value)
    first = read(checkpoint, tmp_path, key=key)['state_dict']
    assert torch.equal(first['encoder.cls_token'], base['cls_token'])
    other = str(caught.value).split('2 models: ')[1].split(';')[0].split(', ')[1]
    second = read(checkpoint, tmp_path, key=other)['state_dict']
    assert torch.equal(second['encoder.cls_token'], base['cls_token'] / 2)


def test_the_same_weights_twice_are_no_question(base, tmp_path):
    copies = {'model': base, 'state_dict': {name: value.clone() for name, value in base.items()}}
    assert len(read(copies, tmp_path)['state_dict']) == len(base)


def test_key_of_the_dict_that_a_wrapper_is_in(base, tmp_path):
    checkpoint = PAIRS['DINO'](base, halved(base))
    for key in ('student', 'student.module', 'student.module.backbone', 'student.backbone'):
        found = read(checkpoint, tmp_path, key=key)['state_dict']
        assert torch.equal(found['encoder.cls_token'], base['cls_token'])
    with pytest.raises(CheckpointError, match=r"'pupil'; .*student\.back"):
        read(checkpoint, tmp_path, key='pupil')


def test_convert_takes_the_key(base, tmp_path):
    torch.save(PAIRS['DINO'](base, halved(base)), tmp_path / PATH)
    convert(tmp_path / PATH, tmp_path / 'out.safetensors', 'mae', key='teacher')
    found = load_weights(tmp_path / 'out.safetensors')['state_dict']
    assert torch.equal(found['encoder.cls_token'], base['cls_token'] / 2)


def test_a_model_within_the_model(base, mae, tmp_path):
    """Of another's it is another network; in ours it may be a part, such as a target's teacher."""
    found = read({**base, **prefixed('momentum_encoder.', halved(base))}, tmp_path)
    assert any(note.startswith('left out momentum_encoder, ') for note in found['notes'])
    assert len(found['state_dict']) == len(base)
    ours = {**mae, **prefixed('target.teacher.', base)}
    assert read(ours, tmp_path)['state_dict'].keys() == ours.keys()


def test_two_wrappings_of_one_name(base, tmp_path):
    doubled = {**base, **prefixed('module.', base)}
    with pytest.raises(CheckpointError, match=r'cls_token twice: as cls_token and as module'):
        read(doubled, tmp_path)


def test_dicts_that_hold_themselves(base, tmp_path):
    checkpoint = {'model': dict(base)}
    checkpoint['model']['again'] = checkpoint
    deep = checkpoint
    for _ in range(50):
        deep = {'in': deep}
    torch.save({**checkpoint, 'deep': deep}, tmp_path / PATH)
    assert len(load_weights(tmp_path / PATH)['state_dict']) == len(base)
