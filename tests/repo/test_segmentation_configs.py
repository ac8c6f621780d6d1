"""Segmentation's configs keep the published recipes, and step on small data."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from PIL import Image

from mae import datasets, models  # noqa: F401  (register what the configs name)
from mae.apis import load_config
from mae.config.grammar import parse_name
from mae.datasets.catalogue import CATALOGUE
from mae.engine import Runner
from mae.engine.optim import GroupedOptimConstructor
from mae.registry import MODELS

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'segmentation'
STEMS = sorted(path.stem for path in FOLDER.glob('*.py'))
UPERNET = 'vit-{}-p16_upernet-8xb2-polylr-160k_ade20k-512'
LINEAR = 'vit-base-p16_seg-linear{}-8xb32-amp-coslr-100e{}_in-s{}'
UPERNETS = {  # width, depth, heads; taps; rate, layer decay and drop path, of ViT-L partly ours
    UPERNET.format('base'): ((768, 12, 12), [3, 5, 7, 11], (1e-4, 0.65, 0.1)),
    UPERNET.format('large'): ((1024, 24, 16), [7, 11, 15, 23], (8e-5, 0.8, 0.2)),
}
LINEARS = {
    LINEAR.format(sup, source, number): (sup, source, number)
    for sup in ('', '-sup')
    for source in ('', '-mmseg')
    for number in (50, 300, 919)
}


def build(config: Config) -> torch.nn.Module:
    with torch.device('meta'):
        return MODELS.build(config.model)


def test_all_required_leaves_exist():
    assert {*UPERNETS, *LINEARS} == set(STEMS)


def count(D: int, depth: int, heads: int, classes: int = 150) -> int:
    """Parameters of mmsegmentation's UperNet around its MAE backbone, counted from its config."""
    table = (63 * 63 + 3) * heads
    block = 12 * D * D + 12 * D + 2 * D + table  # keys have no bias there; layer scale; offsets
    encoder = 16 * 16 * 3 * D + D + D + (32 * 32 + 1) * D + depth * block
    neck = 3 * (4 * D * D + D) + 2 * D
    pooled, bottleneck = 4 * (D * D + 2 * D), 9 * 5 * D * D + 2 * D
    pyramid = 3 * (D * D + 2 * D) + 3 * (9 * D * D + 2 * D)
    head = pooled + bottleneck + pyramid + 9 * 4 * D * D + 2 * D + D * classes + classes
    auxiliary = 9 * D * 256 + 2 * 256 + 256 * classes + classes
    return encoder + neck + head + auxiliary


@pytest.mark.parametrize('stem', UPERNETS)
def test_parameters_are_those_counted(stem):
    found = sum(p.numel() for p in build(load_config(stem)).parameters())
    assert found == pytest.approx(count(*UPERNETS[stem][0]), rel=1e-3)


def rates(config: Config) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter."""
    wrapper, model = deepcopy(config.optim_wrapper), build(config)
    if config.get('base_lr'):
        wrapper.optimizer.lr = config.base_lr * config.global_batch_size / 256
    constructor = GroupedOptimConstructor(wrapper, wrapper.get('paramwise_cfg'))
    found = {
        id(p): (group['lr'], group['weight_decay'])
        for group in constructor.group(model)
        for p in group['params']
    }
    return {name: found[id(p)] for name, p in model.named_parameters()}


@pytest.mark.parametrize('stem', UPERNETS)
def test_recipe_of_ade20k(stem):
    (_, depth, _), taps, (lr, decay, drop_path) = UPERNETS[stem]
    config, found = load_config(stem), rates(load_config(stem))
    assert config.model.taps == taps
    assert config.model.encoder.drop_path_rate == drop_path
    assert found['head.classify.weight'] == (lr, 0.05)
    assert found['head.classify.bias'] == (lr, 0)
    low = pytest.approx(lr * decay ** (depth + 1))
    for name in ('encoder.pos_embed', 'encoder.cls_token'):
        assert found[name] == (low, 0.05)
    assert found['encoder.blocks.0.rel_pos.table'] == (pytest.approx(lr * decay**depth), 0.05)
    assert found['encoder.blocks.0.gamma_1'][1] == 0
    schedule, cfg = config.param_scheduler, config.train_cfg
    assert (schedule.warmup, schedule.start_factor, schedule.power) == (1500, 1e-6, 1)
    assert (cfg.max_steps, config.global_batch_size) == (160_000, 16)
    assert (config.model.window, config.model.stride) == (512, 341)
    assert config.model.auxiliary_weight == 0.4


@pytest.mark.parametrize('stem', LINEARS)
def test_recipe_of_imagenet_s(stem):
    sup, source, number = LINEARS[stem]
    config, found = load_config(stem), rates(load_config(stem))
    lr, decay = (1e-4, 0.4) if sup else (5e-4, 0.6)
    assert found['head.fc.weight'] == (lr, 0.05)
    # mmsegmentation's constructor compares names without their prefix, and exempts neither.
    for name in ('encoder.pos_embed', 'encoder.cls_token'):
        assert found[name] == (pytest.approx(lr * decay**13), 0.05 if source else 0)
    schedule = config.param_scheduler
    assert (schedule.warmup_epochs, schedule.min_lr) == (5, 1e-6)
    assert config.train_cfg.max_epochs == 100
    types = [step.type for step in config.train_dataloader.dataset.pipeline]
    assert ('PhotometricDistortion' in types, 'RandomBlur' in types) == (bool(source), not source)
    assert config.model.loss.divide_by == ('all' if source else 'valid')
    # One norm behind the last block: mmsegmentation's is the encoder's, that of pre-training.
    has_norm = any(name.startswith('encoder.norm.') for name in found)
    assert has_norm == (bool(source) and not sup)
    assert has_norm != any(name.startswith('head.fc_norm.') for name in found)
    assert config.model.head.num_classes == number + 1
    for loader in (config.train_dataloader, config.val_dataloader):
        assert loader.dataset.source.root == f'data/imagenet-s{number}'


@pytest.mark.parametrize('stem', STEMS)
def test_it_reads_what_prepare_checks(stem):
    config = load_config(stem)
    (part,) = CATALOGUE['ade20k' if 'ade20k' in stem else 'imagenet-s'].parts
    loaders = (config.train_dataloader, config.val_dataloader)
    sources = [loader.dataset.source for loader in loaders]
    assert [(source.images, source.maps) for source in sources] == list(part.folders)
    ignored = {config.model.loss.ignore_index, config.val_evaluator.ignore_index}
    for step in (step for loader in loaders for step in loader.dataset.pipeline):
        if step.type == 'LoadMap':
            ignored.add(step.get('ignore_index', 255))
        if step.type in ('Pad', 'ClassBalancedCrop'):
            ignored.add(step.get('map_fill' if step.type == 'Pad' else 'ignore_index', 255))
    assert len(ignored) == 1


# --- Shrunken twins -------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """Both sets with four images to train on and two to test, of two sizes."""
    root, draw = tmp_path_factory.mktemp('data'), np.random.default_rng(0)
    for name, published in (('ade20k', 'ade20k'), ('imagenet-s919', 'imagenet-s')):
        (part,) = CATALOGUE[published].parts
        for (images, maps), number in zip(part.folders, (4, 2), strict=True):
            for n in range(number):
                size = (70, 90) if n % 2 else (80, 66)
                image, labels = (root / name / kind / 'n0' / f'{n}.png' for kind in (images, maps))
                for path, values in (
                    (image, draw.integers(256, size=(*size, 3), dtype=np.uint8)),
                    (labels, stored(draw, size, rg=published == 'imagenet-s')),
                ):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(values).save(path)
    for number in (50, 300):
        (root / f'imagenet-s{number}').symlink_to(root / 'imagenet-s919')
    return root


def stored(draw: np.random.Generator, size: tuple[int, int], *, rg: bool) -> np.ndarray:
    """Four blocks of labels up to 50, one of them ignored, as the files have them."""
    blocks = draw.integers(1, 51, size=(2, 2))
    blocks[0, 0] = 1000 if rg else 0
    rows, columns = (np.arange(side) * 2 // side for side in size)
    labels = blocks[rows[:, None], columns[None]]
    if not rg:
        return labels.astype(np.uint8)
    return np.stack([labels % 256, labels // 256, 0 * labels], axis=-1).astype(np.uint8)


def twin(stem: str, data: Path, work_dir: Path) -> Config:
    """The config with four narrow blocks and images of 64 or 32 pixels, two a device."""
    config, side = deepcopy(load_config(stem)), 64 if 'upernet' in stem else 32
    model = config.model
    model.encoder.update(arch=dict(embed_dim=32, depth=4, num_heads=2), img_size=side)
    if side == 64:
        model.taps = [0, 1, 2, 3]
        model.head.width = model.auxiliary.width = 16
        model.update(window=64, stride=43)
        config.train_cfg.update(max_steps=1, val_interval=1)
        config.param_scheduler.warmup = 0
    else:
        model.taps = [3]
        config.train_cfg.update(max_epochs=1, val_interval=1)
        config.param_scheduler.warmup_epochs = 0
    config.global_batch_size = 4
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
        loader.pop('prefetch_factor')
        loader.batch_size = min(loader.batch_size, 2)
        loader.dataset.source.root = str(data / Path(loader.dataset.source.root).name)
        for step in loader.dataset.pipeline:
            step.update({k: side for k in ('size', 'short_side') if k in step})
            step.update({k: 4 * side for k in ('long_side',) if k in step})
    config.work_dir, config.experiment_name = str(work_dir), stem
    return load_config(config)


def authors_weights(model: ConfigDict, path: Path, *, tuned: bool) -> dict[str, torch.Tensor]:
    """Weights in the layout of the authors' files, saved; an encoder alone, or a classifier."""
    kind = {'type': 'ViTEncoder', 'final_norm': not tuned}
    taken = ('arch', 'img_size', 'patch_size')
    encoder = MODELS.build(ConfigDict(kind, **{key: model.encoder[key] for key in taken}))
    weights = {name: torch.rand_like(value) for name, value in encoder.state_dict().items()}
    if tuned:
        norm = torch.nn.LayerNorm(32).state_dict()
        weights |= {f'fc_norm.{name}': torch.rand_like(value) for name, value in norm.items()}
        weights |= {'head.weight': torch.rand(1000, 32), 'head.bias': torch.rand(1000)}
    torch.save({'model': weights}, path)
    return weights


@pytest.mark.parametrize('stem', STEMS)
def test_twin_starts_from_the_authors_weights_steps_and_is_evaluated(stem, data, tmp_path):
    config, tuned = twin(stem, data, tmp_path), '-sup' in stem
    theirs = authors_weights(config.model, tmp_path / 'mae.pth', tuned=tuned)
    config.load_from = str(tmp_path / 'mae.pth')
    runner, before = Runner.from_cfg(config), {}
    runner.call_hook = _remember(runner, before)
    runner.train()
    own = {name.removeprefix('encoder.'): value for name, value in before.items()}
    own |= {n.removeprefix('head.'): v for n, v in before.items() if n.startswith('head.fc_norm.')}
    for name, value in theirs.items():
        if name.startswith(('head.', 'norm.')) and name not in own:
            continue
        assert torch.equal(own[name], value), name
    assert ('fc_norm.weight' in own) == (tuned or ('in-s' in stem and 'mmseg' not in stem))
    if 'in-s' in stem:
        assert before['head.fc.weight'].std() < 1e-4
    moved = {n for n, p in runner.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == set(before)
    metrics = runner.val_loop.run()
    assert 0 <= metrics['miou'] <= 100
    assert metrics['num_images'] == 2


def _remember(runner, before):
    call = runner.call_hook

    def remember(name, **facts):
        if name == 'before_train':
            before.update({n: p.detach().clone() for n, p in runner.model.named_parameters()})
        return call(name, **facts)

    return remember


def test_names_promise_the_task():
    assert {parse_name(stem).task for stem in STEMS} == {'segment'}
