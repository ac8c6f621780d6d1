"""Every shipped config keeps what its name, its folder's README and the recipes promise."""

import ast
import json
import os
import re
import runpy
import struct
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import yaml
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from PIL import Image

from mae import datasets, models  # noqa: F401  (register what the configs name)
from mae.apis import find_config, load_config, train
from mae.apis import test as evaluate
from mae.config.grammar import Promise, parse_name
from mae.config.lint import lint
from mae.datasets.catalogue import CATALOGUE
from mae.datasets.sources.imagenet_c import CORRUPTIONS
from mae.datasets.sources.omnibenchmark import REALMS
from mae.engine import Runner
from mae.registry import MODELS, TRANSFORMS
from mae.utils.class_lists import class_list

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
BASES = sorted((CONFIGS / '_base_').rglob('*.py'))
LEAVES = sorted(set(CONFIGS.rglob('*.py')) - set(BASES))
# data and folder
SMALL = {'digits': 'demo', 'digit-scenes': 'demo', 'fashion': 'fashion', 'crops': 'crops'}
MADE = {'digits': 'Digits', 'digit-scenes': 'DigitScenes'}  # data without a folder, and its source
DENSE = [leaf for leaf in LEAVES if parse_name(leaf.stem).is_dense]  # have tests of their own
WHOLE = [leaf for leaf in LEAVES if leaf not in DENSE]  # speak of whole images
IN1K = [leaf for leaf in WHOLE if leaf.parent.name not in (*SMALL.values(), 'small')]
TESTED = [leaf for leaf in WHOLE if not parse_name(leaf.stem).is_trained]
TRAINED = [leaf for leaf in WHOLE if leaf not in TESTED]
# ViT-S of the small recipes differs from ViT-Ti in numbers that a twin does not have.
TWINS = [leaf for leaf in TRAINED if parse_name(leaf.stem).arch != 'small']
ABLATIONS = [
    leaf for leaf in LEAVES if leaf.parent.name == 'ablations' and 'target' not in leaf.stem
]
CHANGED = [leaf for leaf in LEAVES if leaf.parent.name == 'changed_maths']
OTHER_TARGETS = [leaf for leaf in LEAVES if '_target-' in leaf.stem and '-pixel' not in leaf.stem]
METAFILES = sorted(CONFIGS.rglob('metafile.yml'))
FOLDERS = sorted({leaf.parent for leaf in LEAVES})

FOLDER = {
    None: 'pretrain',
    'ft': 'finetune',
    'scratch': 'finetune',
    'linear': 'linear',
    'knn': 'knn',
    'test': 'robustness',
    'probe': 'transfer',
}
SOURCES = {  # type and folder
    'in1k': ('ImageFolder', 'data/imagenet'),
    'in-c': ('ImageNetC', 'data/imagenet-c'),
    'in-a': ('ImageFolder', 'data/imagenet-a'),
    'in-r': ('ImageFolder', 'data/imagenet-r'),
    'in-sketch': ('ImageFolder', 'data/imagenet-sketch'),
    'in-v2': ('ImageFolder', 'data/imagenetv2-matched-frequency-format-val'),
    'in-real': ('ImageFolder', 'data/imagenet'),
    'inat17': ('JsonImages', 'data/inat2017'),
    'inat18': ('JsonImages', 'data/inat2018'),
    'inat19': ('JsonImages', 'data/inat2019'),
    'places205': ('ImageFolder', 'data/places205'),
    'places365': ('ImageFolder', 'data/places365'),
    'omni': ('OmniBenchmark', 'data/omnibenchmark'),
    'any': ('ImageFolder', 'data/any'),
    'fashion': ('IDXImages', 'data/fashion-mnist'),
    'crops': ('ImageFolder', 'data/photo-crops'),
}
WRAPPERS = ('Subset', 'SelectClasses', 'Corrupted')
NETWORKS = ('base-p16', 'large-p16', 'huge-p14')
GLOBAL_BATCH = {None: 4096, 'ft': 1024, 'scratch': 4096, 'linear': 16384}
PARAMETERS = {  # M, as published for encoder and decoder; timm's for the classifiers
    ('MAE', 'base', 224): 111.9,
    ('MAE', 'large', 224): 329.5,
    ('MAE', 'huge', 224): 657.1,
    ('Classifier', 'base', 224): 86.6,
    ('Classifier', 'large', 224): 304.3,
    ('Classifier', 'huge', 224): 632.0,
    ('Classifier', 'huge', 448): 633.0,
}
# lr, warm-up, layer decay, drop path: the paper's tables 8 to 11 and the authors' repository
RECIPES = {
    (None, 'base', False): (2.4e-3, 40, None, None),
    (None, 'large', False): (2.4e-3, 40, None, None),
    (None, 'huge', False): (2.4e-3, 40, None, None),
    ('ft', 'base', False): (2e-3, 5, 0.65, 0.1),
    ('ft', 'base', True): (4e-3, 5, 0.75, 0.1),
    ('ft', 'large', False): (4e-3, 5, 0.75, 0.2),
    ('ft', 'large', True): (4e-3, 5, 0.75, 0.1),
    ('ft', 'huge', False): (4e-3, 5, 0.75, 0.3),
    ('ft', 'huge', True): (4e-3, 5, 0.75, 0.2),
    ('scratch', 'base', False): (1.6e-3, 20, None, 0.1),
    ('scratch', 'large', False): (1.6e-3, 20, None, 0.2),
    ('scratch', 'huge', False): (1.6e-3, 20, None, 0.2),
    ('linear', 'base', False): (6.4, 10, None, None),
    ('linear', 'large', False): (6.4, 10, None, None),
    ('linear', 'huge', False): (6.4, 10, None, None),
}


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS).with_suffix(''))


@cache
def _load(path: Path) -> Config:
    return Config.fromfile(path)


def load(path: Path) -> Config:
    return deepcopy(_load(path))


def parse(path: Path) -> Promise:
    promise = parse_name(path.stem)
    assert promise, f'{path.stem} does not follow the grammar of names'
    return promise


def main_data(promised: Promise) -> str:
    """What a small set is a part of or made from; the data itself of all others."""
    main = promised.data.partition('-')[0]
    return main if main in SMALL and promised.data not in SMALL else promised.data


def base_paths(path: Path) -> list[Path]:
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == '_base_':
            value = ast.literal_eval(statement.value)
            return [path.parent / base for base in ([value] if isinstance(value, str) else value)]
    return []


def levels(path: Path) -> int:
    return max((1 + levels(base) for base in base_paths(path)), default=0)


def find(node: object, key: str) -> list:
    """All values of `key`, at any depth."""
    if isinstance(node, dict):
        here = [node[key]] if key in node else []
        return here + [value for child in node.values() for value in find(child, key)]
    if isinstance(node, list | tuple):
        return [value for child in node for value in find(child, key)]
    return []


parametrize_leaves = pytest.mark.parametrize('path', LEAVES, ids=name)
parametrize_whole = pytest.mark.parametrize('path', WHOLE, ids=name)
parametrize_in1k = pytest.mark.parametrize('path', IN1K, ids=name)
parametrize_trained = pytest.mark.parametrize('path', TRAINED, ids=name)
parametrize_recipes = pytest.mark.parametrize(
    'path', [leaf for leaf in TRAINED if leaf in IN1K], ids=name
)


def test_all_required_leaves_exist():
    stems = {leaf.stem for leaf in IN1K}
    for arch in ('base-p16', 'large-p16', 'huge-p14'):
        epochs = 100 if arch == 'base-p16' else 50
        required = {f'vit-{arch}_linear-8xb2048-amp-coslr-90e_in1k', f'vit-{arch}_knn-8xb512_in1k'}
        required |= {
            f'mae_vit-{arch}_8xb512-amp-coslr-{length}e_in1k' for length in (300, 400, 800, 1600)
        }
        required |= {
            f'vit-{arch}_ft-8xb128-amp-coslr-{epochs}e{which}_in1k' for which in ('', '-paper')
        }
        assert required <= stems
    assert 'vit-huge-p14_ft-32xb32-amp-coslr-50e_in1k-448' in stems
    for data in ('in-c', 'in-a', 'in-r', 'in-sketch', 'in-v2', 'in-real'):
        required = {f'vit-{arch}_test-8xb128_{data}' for arch in NETWORKS}
        assert required | {f'vit-huge-p14_test-8xb128_{data}-448'} <= stems
    for data in ('inat17', 'inat18', 'inat19', 'places205', 'places365'):
        required = {f'vit-{arch}_ft-8xb128-amp-coslr-100e_{data}' for arch in NETWORKS}
        assert required | {f'vit-huge-p14_ft-32xb32-amp-coslr-100e_{data}-448'} <= stems
    required = {f'vit-{arch}_probe-8xb512_omni' for arch in NETWORKS}
    assert required | {'vit-base-p16_ft-8xb128-amp-coslr-100e_any'} <= stems


def test_names_are_unique():
    stems = [leaf.stem for leaf in LEAVES]
    assert len(stems) == len(set(stems)), 'a bare name must mean one config'


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('mae_vit-b-p16_8xb512-coslr-400e_in1k', 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'),
        ('vit-b-p16_ft-8xb128-coslr-100e_in1k', 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'),
    ],
)
def test_older_spelling_finds_the_config(old, new):
    assert Path(find_config(old)).stem == new


@parametrize_leaves
def test_leaf_is_short_documented_and_shallow(path):
    tree = ast.parse(path.read_text())
    text = ast.get_docstring(tree)
    assert text, 'a leaf opens with a docstring'
    assert len(text.splitlines()) <= 3, 'hardware, time and results stand in the README'
    code = path.read_text().splitlines()[tree.body[0].end_lineno :]
    assert sum(bool(line.strip()) for line in code) <= 30, 'a leaf says only what differs'
    assert base_paths(path), 'a leaf builds on _base_'
    assert levels(path) <= 2, 'at most two levels of _base_'


def inherited(path: Path) -> dict:
    """What a leaf has from its bases."""
    bases = [load(base)._cfg_dict for base in base_paths(path)]
    return {key: value for base in bases for key, value in base.items()}


def repeated(new: dict, old: dict, place: str = '') -> list[str]:
    """Keys that a leaf sets to what they are anyway."""
    found = []
    for key, value in new.items():
        if key not in old:
            continue
        if isinstance(value, dict) and isinstance(old[key], dict):
            if not value.get('_delete_'):
                found += repeated(value, old[key], f'{place}{key}.')
        elif type(value) is type(old[key]) and value == old[key]:
            found.append(place + key)
    return found


@parametrize_leaves
def test_leaf_says_only_what_differs(path):
    said = {key: value for key, value in runpy.run_path(str(path)).items() if key[0] != '_'}
    assert repeated(said, inherited(path)) == []


@pytest.mark.parametrize('folder', FOLDERS, ids=name)
def test_folder_has_one_parent_for_each_recipe(folder):
    """The others inherit it: no two leaves of a folder put the same parts together."""
    parents = [leaf for leaf in LEAVES if leaf.parent == folder and len(base_paths(leaf)) > 1]
    recipes = [
        (
            parse(leaf).job,
            parse(leaf).source,
            [base.stem for base in base_paths(leaf) if base.parent.name == 'schedules'],
        )
        for leaf in parents
    ]
    assert all(recipes.count(recipe) == 1 for recipe in recipes)


@pytest.mark.parametrize('folder', FOLDERS, ids=name)
def test_readme_tells_what_to_expect(folder):
    readme = (folder / 'README.md').read_text()
    commands = re.findall(r'^tools/(?:dist_)?(train|test)\.(?:sh|py) (\S+)', readme, re.MULTILINE)
    assert commands, 'no launch command'
    for tool, config in commands:
        assert (tool == 'train') <= parse_name(config).is_trained
        assert (folder / f'{config}.py').is_file(), 'the command launches another config'
    for entry in ('Hardware', 'Time', 'Ours'):
        assert re.search(rf'^- {entry}: \S', readme, re.MULTILINE), f'{entry} is missing'


def test_bases_exist_and_are_used():
    used = {base.resolve() for path in (*LEAVES, *BASES) for base in base_paths(path)}
    assert used - {leaf.resolve() for leaf in LEAVES} == {base.resolve() for base in BASES}


@pytest.fixture(scope='module')
def on_meta():
    """on_meta(config) is the model, without memory; built once for all leaves that have it."""
    built = {}

    def build(config: ConfigDict) -> torch.nn.Module:
        if (key := str(config)) not in built:
            with torch.device('meta'):
                built[key] = MODELS.build(config)
        return built[key]

    return build


@pytest.mark.parametrize(
    'path', [*LEAVES, *METAFILES], ids=lambda path: name(path.with_name(path.stem))
)
def test_linter(path, on_meta, monkeypatch):
    """Loads, builds, and keeps the batch, length, model, lr rule and decay keys of its name."""
    monkeypatch.setattr('mae.config.lint.MODELS', SimpleNamespace(build=on_meta))
    assert [str(violation) for violation in lint(path)] == []


@parametrize_whole
def test_name_is_kept(path):
    promised, cfg = parse(path), load_config(path)
    folder = path.relative_to(CONFIGS).parts[0]
    data = main_data(promised)
    if data in SMALL:
        assert folder == SMALL[data]
    elif promised.arch in ('tiny', 'small'):
        assert folder == 'small'
    elif promised.job == 'ft' and promised.data != 'in1k':
        assert folder == 'transfer'
    else:
        assert folder == FOLDER[promised.job]
    if data not in SMALL:
        of_one_change = path.parent.name in ('ablations', 'changed_maths', 'targets')
        assert of_one_change == bool(promised.ablation)
    assert promised.algorithm == (promised.job is None)
    for source in find(cfg._cfg_dict, 'source'):
        if source.type in WRAPPERS:
            continue
        if data in SOURCES:
            assert (source.type, source.root) == SOURCES[data]
        else:
            assert (source.type, source.img_size) == (MADE[data], promised.size)
    for transform in (t for pipeline in find(cfg._cfg_dict, 'pipeline') for t in pipeline):
        if transform.type.endswith('Crop'):
            assert transform.size == promised.size
        if transform.type == 'ResizeShort':
            short = TRANSFORMS.build(transform).size
            whole = promised.size != 224 or promised.data == 'omni'
            assert short == (promised.size if whole else 256)


@parametrize_trained
def test_run_is_kept(path):
    promised, cfg = parse(path), load(path)
    assert cfg.param_scheduler.type == 'WarmupCosineLR'
    assert ('val_dataloader' in cfg) == (promised.job is not None)
    evaluators = {cfg.get(key, {}).get('type') for key in ('val_evaluator', 'test_evaluator')}
    grid = 'GridAccuracy' if promised.variant == 'grid' else 'Accuracy'
    assert evaluators == {grid if promised.job else None}


@pytest.mark.parametrize('path', TESTED, ids=name)
def test_test_is_kept(path):
    cfg, job, data = load(path), parse(path).job, parse(path).data
    assert 'train_dataloader' not in cfg
    assert 'val_dataloader' not in cfg
    loops = {'knn': 'KNNLoop', 'probe': 'GroupProbeLoop', 'test': 'TestLoop'}
    assert cfg.test_cfg.type == loops[job]
    tested = cfg.test_dataloader.dataset
    val = 'test' if data == 'fashion' else 'val'
    splits = {'knn': [val, 'train'], 'probe': ['test', 'train', 'val'], 'test': []}
    banks = [loader.dataset for key, loader in cfg.test_cfg.items() if key.endswith('_dataloader')]
    for part, split in zip([tested, *banks], splits[job], strict=job != 'test'):
        assert part.source.split == split
        assert part.pipeline == tested.pipeline, 'all must be seen alike'


@pytest.mark.parametrize('path', [p for p in TESTED if parse_name(p.stem).job == 'test'], ids=name)
def test_images_are_seen_as_in_fine_tuning(path):
    """But for ImageNet-C, whose files are cropped to 224 pixels already."""
    promised, cfg = parse(path), load(path)
    tuned = load(next(leaf for leaf in LEAVES if is_plainly_tuned(parse(leaf), promised)))
    pipeline, expected = (c.test_dataloader.dataset.pipeline for c in (cfg, tuned))
    if promised.data == 'in-c' and promised.size == 224:
        expected = [transform for transform in expected if transform.type != 'ResizeShort']
    if promised.data in ('digits-c', 'fashion-c'):
        assert pipeline.pop(0).type == 'Corrupt'
    assert pipeline == expected
    for model in (cfg.model, tuned.model):
        model.encoder.pop('drop_path_rate', None)  # of training alone
    assert cfg.model == tuned.model


def is_plainly_tuned(other: Promise, promised: Promise) -> bool:
    """Whether a config fine-tunes the network that another one tests, on the clean images."""
    same = (other.arch, other.size) == (promised.arch, promised.size)
    plain = other.variant is None and other.percent == 100 and not other.paper
    data = promised.data.partition('-')[0]
    return same and plain and (other.job, other.data) == ('ft', 'in1k' if data == 'in' else data)


TRANSFER = [p for p in LEAVES if parse_name(p.stem).data.startswith(('inat', 'places'))]


@pytest.mark.parametrize('path', TRANSFER, ids=name)
def test_transfer_reads_what_prepare_checks_and_writes(path):
    cfg, data = load(path), parse(path).data
    published = CATALOGUE[data.replace('inat', 'inat20')]
    assert cfg.val_dataloader == cfg.test_dataloader
    for part, loader in zip(
        published.parts, (cfg.train_dataloader, cfg.val_dataloader), strict=True
    ):
        source = loader.dataset.source
        assert cfg.model.head.num_classes == part.classes
        if data.startswith('inat'):
            assert source.annotations == part.file
        else:
            assert (source.split, source.list_file) == ('', f'lists/{part.name}')
            assert source.classes == [str(label) for label in range(part.classes)]


@parametrize_recipes
def test_recipe_is_kept(path):
    promised, cfg = parse(path), load(path)
    # Tuning some of the blocks follows the paper's table 9, and so does transfer.
    others = promised.variant is not None or promised.data != 'in1k'
    of_paper = promised.paper or (promised.job == 'ft' and others)
    key = (promised.job, promised.arch, of_paper)
    lr, warmup, layer_decay, drop_path = RECIPES[key]
    assert cfg.base_lr * cfg.global_batch_size / 256 == pytest.approx(lr)
    assert cfg.global_batch_size == GLOBAL_BATCH[promised.job]
    assert cfg.param_scheduler.warmup_epochs == warmup
    assert cfg.param_scheduler.min_lr == (1e-6 if promised.job == 'ft' else 0)
    assert cfg.optim_wrapper.get('paramwise_cfg', {}).get('layer_decay') == layer_decay
    assert cfg.model.encoder.get('drop_path_rate') == drop_path


@parametrize_in1k
def test_model_has_the_published_size(path, on_meta):
    cfg = load(path)
    model = on_meta(cfg.model)
    encoder = cfg.model.encoder
    parameters = sum(p.numel() for p in model.parameters())
    promised = parse(path)
    if promised.ablation and promised.ablation.startswith('dec-'):
        assert parameters == decoder_ablation(promised)
    elif path in OTHER_TARGETS:
        width = {'hog': 3 * 9 * 2 * 2, 'lowfreq': 768, 'feature-dino': 768}
        last = (512 + 1) * (width[promised.ablation.removeprefix('target-')] - 768)
        assert (parameters - last) / 1e6 == pytest.approx(PARAMETERS['MAE', 'base', 224], abs=0.05)
    elif promised.variant == 'grid':
        assert parameters == sum(p.numel() for p in model.encoder.parameters()) + 7 * 769 * 1000
    else:
        expected = PARAMETERS[cfg.model.type, encoder.arch, encoder.img_size]
        if promised.has_head:  # they are published with 1000 classes
            parameters -= (model.num_classes - 1000) * (model.encoder.embed_dim + 1)
        assert parameters / 1e6 == pytest.approx(expected, abs=0.05)
    if cfg.model.get('trainable_blocks') == 0:
        trained = {key for key, p in model.named_parameters() if p.requires_grad}
        heads = [f'fcs.{n}' for n in range(7)] if promised.variant == 'grid' else ['fc']
        assert trained == {f'head.{fc}.{kind}' for fc in heads for kind in ('weight', 'bias')}


def decoder_ablation(promised: Promise) -> int:
    """Parameters of ViT-B or L and a decoder d wide with n blocks, counted by hand."""
    number = int(re.search(r'\d+$', promised.ablation)[0])
    n, d = (8, number) if 'dim' in promised.ablation else (number, 512)
    n = 12 if 'cross' in promised.ablation else n
    block = 12 * d * d + 13 * d  # qkv, proj and MLP with biases, two norms
    encoder, D = {'base': (85_798_656, 768), 'large': (303_301_632, 1024)}[promised.arch]
    embed, pred, norm = D * d + d, d * 768 + 768, 2 * d * (1 + ('cross' in promised.ablation))
    return encoder + embed + d + 197 * d + n * block + norm + pred


@pytest.mark.parametrize('path', ABLATIONS, ids=name)
def test_ablation_differs_in_one_thing_from_the_papers_default(path):
    promised = parse(path)
    default = next(leaf for leaf in LEAVES if f'-{promised.arch}-p16_target-pixel_' in leaf.stem)
    cfg, base = load(path), load(default)
    assert not base.model.target.norm_pix
    part = {'dec': 'decoder', 'mask': 'masker'}.get(promised.ablation.partition('-')[0])
    cfg.model.pop(part, None), base.model.pop(part, None)
    if promised.ablation.startswith('aug-'):
        pipelines = [c.train_dataloader.dataset.pop('pipeline') for c in (cfg, base)]
        assert pipelines[0] != pipelines[1]
    assert cfg._cfg_dict == base._cfg_dict


@pytest.mark.parametrize('path', CHANGED, ids=name)
def test_changed_maths_differs_in_one_thing_from_the_recipe(path):
    promised = parse(path)
    recipe = path.stem.replace(f'{promised.ablation}_', '')
    cfg, base = load(path), load(path.parents[1] / f'{recipe}.py')
    for c in (cfg, base):
        c.model.pop('decoder')
        c.model.masker.pop('predict_ratio', None)
        c.pop('custom_hooks', None)
    assert cfg._cfg_dict == base._cfg_dict
    assert load(path)._cfg_dict != load(path.parents[1] / f'{recipe}.py')._cfg_dict


@pytest.mark.parametrize('path', OTHER_TARGETS, ids=name)
def test_other_target_differs_in_it_alone_from_the_recipe(path):
    recipe = path.stem.replace(f'{parse(path).ablation}_', '')
    cfg = load(path)
    base = load(next(leaf for leaf in LEAVES if leaf.stem == recipe))
    assert cfg.model.pop('target') != base.model.pop('target')
    assert cfg._cfg_dict == base._cfg_dict


@pytest.mark.parametrize('path', METAFILES, ids=name)
def test_metafile(path):
    meta = yaml.safe_load(path.read_text())
    collections = {collection['Name'] for collection in meta['Collections']}
    readme = (path.parent / 'README.md').read_text()
    names = [model['Name'] for model in meta['Models']]
    assert len(names) == len(set(names))
    for model in meta['Models']:
        assert model['In Collection'] in collections
        assert (ROOT / model['Config']).is_file()
        assert model['Weights'] in readme, 'the README lists the same weights'
        facts, checksum = model['Metadata'], model['Metadata'].get('Checksum')
        if 'openmmlab' in model['Weights']:
            assert facts['License'] == 'Apache-2.0'
        else:
            assert facts['License'] == 'CC-BY-NC-4.0'
            assert checksum is None or re.fullmatch(r'md5:[0-9a-f]{6}', checksum)


def test_model_index_lists_every_metafile():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert sorted(index['Import']) == [str(path.relative_to(ROOT)) for path in METAFILES]


# --- Shrunken twins: the config as shipped, two blocks of width 32 on two patches a side ----------


@pytest.fixture(scope='module')
def photos(tmp_path_factory) -> Path:
    """All data sets with 2 classes, 8 training and 4 validation images; those of C have one."""
    root = tmp_path_factory.mktemp('data')
    first = class_list('imagenet')[11:15:2]  # two that A and R have
    for number, path in enumerate(
        f'{data}/{split}/{wnid}/ILSVRC2012_val_{i:08}.png'
        for data in ('photo-crops', 'imagenet', 'any')
        for split, images in (('train', range(1, 5)), ('val', range(5, 7)))
        for wnid in first
        for i in images
    ):
        generator = torch.Generator().manual_seed(number)
        # Crops are not resized: they are as large as the twin's images.
        size = (16, 16) if path.startswith('photo-crops') else (40, 48)
        pixels = torch.randint(256, (*size, 3), generator=generator, dtype=torch.uint8)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.numpy()).save(root / path)
    image = root / path
    for data in ('imagenet-a', 'imagenet-r', 'imagenet-sketch'):
        (root / data).symlink_to(root / 'imagenet/val')
    for folder in ('100', '2'):
        link(image, root / SOURCES['in-v2'][1].removeprefix('data/') / folder, 2)
    for corruption in CORRUPTIONS:
        for severity in '12345':
            link(image, root / 'imagenet-c' / corruption / severity / first[0], 1)
    for realm in REALMS:
        add_realm(root / 'omnibenchmark' / realm, image)
    add_idx(root / 'fashion-mnist')
    for year in ('2017', '2018', '2019'):
        for split, count in (('train', 4), ('val', 2)):
            add_json(root / f'inat{year}', f'{split}{year}.json', count, image)
    for data in ('places205', 'places365'):
        for split, count in (('train', 4), ('val', 2)):
            add_list(root / data, f'lists/{split}.txt', f'{split}_256/a', count, image)
    return root


def link(image: Path, folder: Path, count: int) -> list[str]:
    """The same image under several names; their paths below the folder's parent."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f'{number}.png' for number in range(count)]
    for file in names:
        os.link(image, folder / file)
    return [f'{folder.name}/{file}' for file in names]


def add_list(root: Path, file: str, folder: str, count: int, image: Path) -> None:
    """Lines `path label` of two classes."""
    below = link(image, root / folder, 2 * count)
    lines = [f'{Path(folder).parent / path} {n % 2}\n' for n, path in enumerate(below)]
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(''.join(lines))


def add_realm(root: Path, image: Path) -> None:
    for split in ('train', 'val', 'test'):
        add_list(root, f'annotations/v2/{split}.txt', f'{root.name}.{split}/images', 1, image)


def add_json(root: Path, file: str, count: int, image: Path) -> None:
    """Annotations of two categories, as iNaturalist has them."""
    paths = link(image, root / Path(file).stem, 2 * count)
    content = {
        'images': [{'id': n, 'file_name': path} for n, path in enumerate(paths)],
        'annotations': [{'image_id': n, 'category_id': n % 2} for n in range(len(paths))],
        'categories': [{'id': n, 'name': f'species {n}'} for n in range(2)],
    }
    (root / file).write_text(json.dumps(content))


def add_idx(root: Path) -> None:
    """Two images of each class of ten, 8 pixels wide as a twin sees them."""
    root.mkdir()
    for split in ('train', 't10k'):
        pixels = np.random.default_rng(0).integers(256, size=(20, 8, 8), dtype=np.uint8)
        header = struct.pack('>4B3I', 0, 0, 8, 3, *pixels.shape)
        (root / f'{split}-images-idx3-ubyte').write_bytes(header + pixels.tobytes())
        labels = struct.pack('>4BI', 0, 0, 8, 1, 20) + bytes(2 * [*range(10)])
        (root / f'{split}-labels-idx1-ubyte').write_bytes(labels)


def nodes(node: object) -> list[ConfigDict]:
    """All dicts of a config, outermost first."""
    if isinstance(node, dict):
        return [node, *(inner for child in node.values() for inner in nodes(child))]
    if isinstance(node, list | tuple):
        return [inner for child in node for inner in nodes(child)]
    return []


def twin(path: Path, photos: Path, work_dir: Path) -> Config:
    cfg, promised = load(path), parse(path)
    encoder = cfg.model.encoder
    lowres = (promised.ablation or '').startswith('lowres')
    side = encoder.patch_size * (4 if promised.size == 448 or lowres else 2)
    encoder.update(arch=dict(embed_dim=32, depth=2, num_heads=2), img_size=side)
    if 'decoder' in cfg.model:
        cfg.model.decoder.update(embed_dim=32, depth=1, num_heads=2)
    for node in nodes(cfg._cfg_dict):
        if 'num_workers' in node:
            node.update(batch_size=4, num_workers=0, persistent_workers=False, pin_memory=False)
        if 'root' in node:
            node.update(root=str(photos / Path(node['root']).name))
        if node.get('type') == 'Subset':
            node.update(per_class=1, fraction=None)
        elif node.get('source', {}).get('type') in ('Digits', 'IDXImages'):
            node.source = ConfigDict(type='Subset', source=node.source, per_class=1)
        if node.get('type') == 'ImageNetC':
            node.update(allow_missing=True)  # of a thousand classes there is one
        if node.get('type') == 'DigitScenes':
            node.update(num_scenes=8, img_size=side, digits=(1, 2), sizes=(4, 6))
        if node.get('type') == 'LowResolutionHook':
            node.update(img_size=side // 2)
    if cfg.model.get('target', {}).get('type') == 'FeatureTarget':
        cfg.model.target = teacher_twin(cfg, work_dir)
    if 'train_cfg' in cfg:
        folders = promised.data in ('in1k', 'crops')  # of two classes
        few = (promised.percent != 100 and folders) or 'to' in promised.data
        cfg.global_batch_size = 2 if few else 8  # two micro-batches, or both images of a subset
        cfg.train_dataloader.batch_size = cfg.global_batch_size // (1 if few else 2)
        cfg.train_cfg.max_epochs = 1
        cfg.param_scheduler.warmup_epochs = 0
    elif promised.job == 'knn':
        cfg.test_cfg.k = 3
    elif promised.job == 'probe':
        cfg.test_cfg.update(max_iter=2, penalties=[1e-3, 1.0])
    if cfg.model.get('trainable_blocks'):
        cfg.model.trainable_blocks = min(cfg.model.trainable_blocks, 1)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = path.stem
    return load_config(cfg)


def teacher_twin(cfg: Config, work_dir: Path) -> ConfigDict:
    """The target whose teacher is as small as the twin, from a file."""
    encoder, name = cfg.model.encoder, 'vit_tiny_patch16_224'
    options = dict(img_size=encoder.img_size, patch_size=encoder.patch_size)
    options |= dict(in_chans=encoder.get('in_channels', 3), embed_dim=12, depth=1, num_heads=2)
    file = work_dir / 'teacher.pth'
    torch.save(timm.create_model(name, **options).state_dict(), file)
    facts = {key: cfg.model.target[key] for key in ('mean', 'std') if key in cfg.model.target}
    return ConfigDict(
        type='FeatureTarget', teacher=name, checkpoint=str(file), options=options, **facts
    )


class Snapshot(Hook):
    """Keeps the weights with which training begins."""

    def before_train(self, runner):
        self.weights = {key: value.clone() for key, value in runner.model.state_dict().items()}


def content(cfg: Config) -> str:
    """What a run does; leaves that differ in size or length alone have the same twin."""
    return str({key: cfg[key] for key in sorted(cfg) if key not in ('work_dir', 'experiment_name')})


@pytest.fixture(scope='module')
def train_once():
    """train_once(cfg): see `run`; a run is a function of its config, and made once for each."""
    results = {}

    def call(cfg: Config) -> tuple[set[str], set[str]]:
        if (key := content(cfg)) not in results:
            results[key] = run(cfg)
        return results[key]

    return call


def run(cfg: Config) -> tuple[set[str], set[str]]:
    """Train; the names of all weights that moved, and of those that should."""
    runner, snapshot = Runner.from_cfg(cfg), Snapshot()
    runner.register_hook(snapshot)
    runner.train()
    after = runner.model.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    trained = {key for key, param in runner.model.named_parameters() if param.requires_grad}
    assert (Path(cfg.work_dir) / 'epoch_1.pth').is_file()
    return {key for key in after if not torch.equal(snapshot.weights[key], after[key])}, trained


@pytest.fixture(scope='module')
def pretrained(photos, tmp_path_factory):
    """The checkpoint that a leaf starts from: of a pre-trained twin."""

    trained = {}

    @cache
    def train_twin(leaf: Path) -> Path:
        work_dir = tmp_path_factory.mktemp('pretrain')
        cfg = twin(leaf, photos, work_dir)
        if (key := content(cfg)) not in trained:
            train(cfg)
            trained[key] = work_dir / 'epoch_1.pth'
        return trained[key]

    def checkpoint(path: Path) -> Path:
        promised = parse(path)
        for leaf in TRAINED:
            other = parse(leaf)
            if promised.job == 'test':
                found = is_plainly_tuned(other, promised)
            else:
                same = (other.arch, other.patch) == (promised.arch, promised.patch)
                found = same and (other.job, other.ablation) == (None, None)
            if found:
                return train_twin(leaf)
        raise AssertionError(f'nothing pre-trains {promised.arch}')

    return checkpoint


@pytest.mark.parametrize('path', TWINS, ids=name)
def test_twin_steps(path, photos, pretrained, train_once, tmp_path):
    promised, cfg = parse(path), twin(path, photos, tmp_path)
    if promised.job in ('ft', 'linear'):
        cfg.load_from = str(pretrained(path))
    moved, trained = train_once(cfg)
    statistics = {key for key in moved if key.startswith('head.fc_norm.') and 'linear' in path.stem}
    assert moved - statistics == trained
    encoder = {key for key in trained if key.startswith('encoder.')}
    if promised.job == 'linear':
        assert not encoder
    elif promised.variant == 'half':
        assert {key.split('.')[3] for key in encoder} == {'norm2', 'mlp'}
    elif promised.variant:
        assert {key.split('.')[2] for key in encoder} == {'1'}  # the last of two blocks
    else:
        assert ('encoder.pos_embed' in encoder) == (promised.job is not None)
        assert {'encoder.cls_token', 'encoder.patch_embed.proj.weight'} <= encoder


@pytest.mark.parametrize('path', TESTED, ids=name)
def test_twin_tests(path, photos, pretrained, tmp_path):
    metrics = evaluate(twin(path, photos, tmp_path), pretrained(path))
    assert 0 <= metrics['top1'] <= metrics.get('top5', 100) <= 100  # none for few classes
    small = {'digits': 10, 'digits-c': 700, 'fashion': 10, 'fashion-c': 700}
    images = {**small, 'in-c': 75, 'omni': 2 * len(REALMS)}.get(parse(path).data, 4)
    assert metrics['num_samples'] + metrics.get('num_left_out', 0) == images
    if parse(path).data == 'in-c':
        mean = metrics['mean_ce_of_some_images']
        assert (mean == 0) == (metrics['top1'] == 100)
