"""Detection's configs keep the published recipes, and step on small data."""

import json
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from PIL import Image

from mae import datasets, models  # noqa: F401  (register what the configs name)
from mae.apis import load_config
from mae.config.grammar import parse_name
from mae.engine import Runner
from mae.engine.optim import GroupedOptimConstructor
from mae.registry import MODELS

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'detection'
FPN = 'vit-{}-p16_mask-rcnn-fpn-64xb1-coslr-100e_coco-1024'
VITDET = 'vit-{}-p16_mask-rcnn-vitdet-64xb1-steplr-{}e_coco-1024'
# Millions of parameters: hustvl/MIMDet's README, and detectron2's models.
PARAMETERS = {
    FPN.format('base'): 118.67,
    VITDET.format('base', 100): 111,
    VITDET.format('large', 100): 331,
    VITDET.format('huge', 75): 659,
}
# Of detectron2's projects/ViTDet: layer decay, drop path, blocks that attend globally.
VITDETS = {
    VITDET.format('base', 100): (0.7, 0.1, [2, 5, 8, 11]),
    VITDET.format('large', 100): (0.8, 0.4, [5, 11, 17, 23]),
    VITDET.format('huge', 75): (0.9, 0.5, [7, 15, 23, 31]),
}
STEMS = sorted(path.stem for path in FOLDER.glob('*.py'))


def build(config: Config) -> torch.nn.Module:
    with torch.device('meta'):
        return MODELS.build(config.model)


def test_all_required_leaves_exist():
    cascades = {stem.replace('mask-rcnn', 'cascade-mask-rcnn') for stem in VITDETS}
    assert {FPN.format('base'), FPN.format('large'), *VITDETS, *cascades} == set(STEMS)


@pytest.mark.parametrize('stem', PARAMETERS)
def test_parameters_are_those_published(stem):
    found = sum(p.numel() for p in build(load_config(stem)).parameters()) / 1e6
    assert found == pytest.approx(PARAMETERS[stem], rel=0.005)


@pytest.mark.parametrize('stem', VITDETS)
def test_vitdets_encoder_is_that_of_transformers(stem):
    """Their positions have one more, of a cls token that is not there."""
    transformers = pytest.importorskip('transformers')
    encoder = build(load_config(stem)).encoder
    blocks = VITDETS[stem][2]
    config = transformers.VitDetConfig(
        hidden_size=encoder.embed_dim,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.num_heads,
        image_size=1024,
        pretrain_image_size=224,
        patch_size=16,
        window_block_indices=[n for n in range(encoder.depth) if n not in blocks],
        window_size=14,
        use_relative_position_embeddings=True,
    )
    with torch.device('meta'):
        theirs = transformers.VitDetModel(config)
    expected = sum(p.numel() for p in theirs.parameters()) - encoder.embed_dim
    assert sum(p.numel() for p in encoder.parameters()) == expected


@pytest.mark.parametrize('stem', STEMS)
def test_recipe(stem):
    config, promise = load_config(stem), parse_name(stem)
    encoder, model = config.model.encoder, build(config)
    constructor = GroupedOptimConstructor(config.optim_wrapper, config.optim_wrapper.paramwise_cfg)
    found = {
        id(p): (group['lr'], group['weight_decay'])
        for group in constructor.group(model)
        for p in group['params']
    }
    groups = {name: found.get(id(p)) for name, p in model.named_parameters()}
    depth = model.encoder.depth
    norm, bias = f'encoder.blocks.{depth - 1}.norm1.bias', 'encoder.blocks.0.mlp.fc1.bias'
    assert config.model.taps[-1] == encoder.global_blocks[-1] == depth - 1
    assert not config.model.encoder.with_cls_token
    if 'vitdet' in stem:
        decay, drop_path, blocks = VITDETS[stem.replace('cascade-', '')]
        huge = promise.arch == 'huge'
        assert (encoder.drop_path_rate, encoder.global_blocks) == (drop_path, blocks)
        assert groups[norm][0] == pytest.approx(1e-4 * decay)
        assert groups['encoder.pos_embed'][0] == pytest.approx(1e-4 * decay ** (depth + 1))
        assert groups['encoder.pos_embed'][1] == groups[norm][1] == 0.1 * huge
        assert groups[bias][1] == groups['encoder.blocks.0.rel_pos.rows'][1] == 0.1
        assert [round(share * 184_375) for share in config.param_scheduler.milestones] == [
            pytest.approx(163_889, abs=1),
            pytest.approx(177_546, abs=1),
        ]
        assert round(config.param_scheduler.warmup_epochs * (117_266 // 64)) == 250
    else:
        assert groups['encoder.pos_embed'] is None
        assert groups[norm] == groups['encoder.blocks.0.rel_pos.table'] == (1.6e-4, 0)
        assert groups[bias] == groups['rpn.network.head.cls_logits.weight'] == (1.6e-4, 0.2)


@pytest.fixture(scope='module')
def coco(tmp_path_factory) -> Path:
    """Three images with objects and one without, for both splits."""
    root = tmp_path_factory.mktemp('coco')
    (root / 'annotations').mkdir()
    draw = np.random.default_rng(0)
    for split in ('train2017', 'val2017'):
        (root / split).mkdir()
        images, things = [], []
        for n in range(4):
            pixels = draw.integers(256, size=(40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / f'{n}.png')
            images.append({'id': n, 'file_name': f'{n}.png', 'height': 40, 'width': 60})
            polygon = [5, 5, 45, 5, 45, 30, 5, 30]
            thing = {'image_id': n, 'category_id': 1 + n, 'iscrowd': 0, 'area': 1000.0}
            thing |= {'id': n + 1, 'bbox': [5, 5, 40, 25], 'segmentation': [polygon]}
            things += [thing] * (n < 3)
        categories = [{'id': n, 'name': str(n)} for n in range(1, 81)]
        content = {'images': images, 'annotations': things, 'categories': categories}
        (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(content))
    return root


def twin(stem: str, coco: Path, work_dir: Path) -> Config:
    """The config with images of 64 pixels, four narrow blocks, and two images a step."""
    config = deepcopy(load_config(stem))
    model = config.model
    model.encoder.update(arch=dict(embed_dim=32, depth=4, num_heads=2), img_size=64)
    model.encoder.update(global_blocks=[0, 1, 2, 3] if 'fpn' in stem else [1, 3], window_size=3)
    model.taps = [0, 1, 2, 3] if 'fpn' in stem else [3]
    if 'pos_img_size' in model.encoder:
        model.encoder.pos_img_size = 32
    model.neck.channels = model.roi.width = 16
    model.roi.update(hidden=32, samples=16)
    model.rpn.update(sizes=(8, 16, 24, 32, 64), proposals=((60, 40), (60, 40)))
    config.global_batch_size, config.sync_bn = 2, None
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
        loader.pop('prefetch_factor')
        loader.dataset.source.root = str(coco / Path(loader.dataset.source.root).name)
        if not find_spec('pycocotools'):  # the masks of scenes need none
            use_scenes(loader.dataset, model)
        for step in loader.dataset.pipeline:
            if 'size' in step:
                step.size = 64
    config.train_cfg.update(max_epochs=1, val_interval=1)
    config.param_scheduler.warmup_epochs = 0
    config.work_dir, config.experiment_name = str(work_dir), stem
    return load_config(config)


def use_scenes(dataset: ConfigDict, model: ConfigDict) -> None:
    """Composed digits in the place of COCO: images of one channel, with masks at hand."""
    split = 'train' if 'train' in dataset.source.root else 'val'
    dataset.source = ConfigDict(
        type='DigitScenes', split=split, num_scenes=3, task='instances', img_size=64
    )
    left_out = ('DecodeImage', 'LoadInstances')
    dataset.pipeline = [step for step in dataset.pipeline if step.type not in left_out]
    model.encoder.in_channels = 1
    model.preprocessor.update(mean=[20.0], std=[60.0])


@pytest.mark.parametrize('stem', [s for s in STEMS if 'cascade' not in s or 'base' in s])
def test_twin_steps_and_is_evaluated(stem, coco, tmp_path):
    runner = Runner.from_cfg(twin(stem, coco, tmp_path))
    before = {}
    runner.call_hook = _remember(runner, before)
    runner.train()
    moved = {n for n, p in runner.model.named_parameters() if not torch.equal(p, before[n])}
    fixed = {n for n, p in runner.model.named_parameters() if not p.requires_grad}
    assert fixed == ({'encoder.pos_embed'} if 'fpn' in stem else set())
    assert not moved & fixed
    assert {'neck', 'rpn', 'roi', 'encoder'} <= {name.split('.')[0] for name in moved}
    metrics = runner.val_loop.run()
    assert {'box_ap', 'mask_ap'} <= {key.rpartition('/')[2] for key in metrics}


def _remember(runner, before):
    call = runner.call_hook

    def remember(name, **facts):
        if name == 'before_train':
            before.update({n: p.detach().clone() for n, p in runner.model.named_parameters()})
        return call(name, **facts)

    return remember
