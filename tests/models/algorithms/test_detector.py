"""Detection: losses against torchvision's, pasting, and that it can learn."""

from pathlib import Path

import pytest
import torch
from torchvision.models.detection.roi_heads import (
    fastrcnn_loss,
    maskrcnn_loss,
    project_masks_on_boxes,
)
from torchvision.ops import MultiScaleRoIAlign

import mae.models  # noqa: F401  registers
from mae.datasets.collate_dense import collate_dense
from mae.datasets.seeded import SeededDataset
from mae.datasets.sources.digit_scenes import DigitScenes
from mae.evaluation import AveragePrecision
from mae.fault_tolerance.checkpoint.load import fit_weights
from mae.models.encoders import ViTEncoder
from mae.models.heads.roi import mask_targets, paste_masks
from mae.models.heads.roi_pool import RoIPool
from mae.models.heads.rpn import RPN
from mae.models.layers.pos_embed import resample_pos_embed
from mae.registry import MODELS
from mae.utils.errors import CheckpointError

CONFIG = {
    'type': 'Detector',
    'encoder': {
        'type': 'DenseViTEncoder',
        'arch': {'embed_dim': 32, 'depth': 2, 'num_heads': 2},
        'img_size': 32,
        'patch_size': 4,
        'in_channels': 1,
        'with_cls_token': False,
        'final_norm': False,
        'window_size': 4,
        'global_blocks': [1],
        'rel_pos': 'axes',
    },
    'taps': [1],
    'neck': {'type': 'SimplePyramid', 'channels': 16},
    'rpn': {'type': 'RPN', 'sizes': [4, 8, 16, 24, 32], 'samples': 64},
    'roi': {'type': 'RoIHead', 'num_classes': 10, 'width': 16, 'hidden': 32, 'samples': 32},
    'preprocessor': {'type': 'DensePreprocessor', 'mean': [20.0], 'std': [60.0]},
}
# The heads see the encoder's map alone, and the box head its mean over a box.
SINGLE_SCALE = {
    **{key: value for key, value in CONFIG.items() if key != 'neck'},
    'rpn': {**CONFIG['rpn'], 'sizes': [12]},
    'roi': {**CONFIG['roi'], 'box_side': 1, 'box_convs': 0},
}


def build(config=CONFIG, **roi):
    torch.manual_seed(0)
    model = MODELS.build({**config, 'roi': {**config['roi'], **roi}})
    model.init_weights()
    return model


@pytest.fixture(scope='module')
def batch():
    source = DigitScenes('train', 4, 'instances', img_size=32, digits=(1, 2), sizes=(12, 16))
    dataset = SeededDataset(source, [{'type': 'PackDense'}])
    return collate_dense([dataset[n] for n in range(4)])


@pytest.mark.parametrize('config', [CONFIG, SINGLE_SCALE], ids=['pyramid', 'single-scale'])
@pytest.mark.parametrize('kind', ['RoIHead', 'CascadeRoIHead'])
def test_the_losses_fall_and_detections_come(batch, config, kind):
    model = build(config, type=kind).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals = []
    for step in range(16):
        torch.manual_seed(step)
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        assert set(losses) == {
            'loss_rpn_class', 'loss_rpn_box', 'loss_class', 'loss_box', 'loss_mask',
        }  # fmt: skip
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total))
    assert totals[-1] < 0.7 * totals[0]
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    with torch.no_grad():
        outputs = model.eval()(**model.data_preprocessor(batch), mode='predict')
    assert [output['id'] for output in outputs] == batch['ids'].tolist()
    for output in outputs:
        found = output['detections']
        assert found['masks'].shape == (len(found['boxes']), 32, 32)
        assert ((found['classes'] >= 0) & (found['classes'] < 10)).all()
    metric = AveragePrecision('mask')
    metric.process(None, outputs)
    assert 0 <= metric.evaluate(4)['mask_ap'] <= 100


def test_what_is_true_scores_full_marks(batch):
    """Objects given as detections: the way of the masks through the batch loses nothing."""
    model = build()
    data = model.data_preprocessor(batch)
    outputs = [
        {
            'id': n,
            'objects': things,
            'detections': {
                'boxes': things['boxes'],
                'classes': things['classes'],
                'masks': things['masks'],
                'scores': torch.ones(len(things['classes'])),
            },
        }
        for n, things in enumerate(data['objects'])
    ]
    for iou in ('box', 'mask'):
        metric = AveragePrecision(iou)
        metric.process(None, outputs)
        assert metric.evaluate(4)[f'{iou}_ap'] == pytest.approx(100)


def test_losses_of_torchvision_are_the_reference(batch, monkeypatch):
    model = build(box_loss='smooth', aligned=False)
    data = model.data_preprocessor(batch, True)
    levels = model.levels(data['inputs'])
    proposals = [things['boxes'] + 1 for things in data['objects']]
    torch.manual_seed(3)
    found = model.roi.losses(levels, [p.clone() for p in proposals], data['objects'])
    stages, used = model.roi.stages, levels[:4]
    targets = [
        {'boxes': things['boxes'], 'labels': things['classes'] + 1} for things in data['objects']
    ]
    torch.manual_seed(3)
    drawn = stages.select_training_samples(proposals, targets)
    expected = torch.zeros(3)
    for n, (boxes, matched, labels, wanted) in enumerate(zip(*drawn, strict=True)):
        own = [level[n : n + 1] for level in used]
        logits, offsets = stages.box_predictor(stages.box_head(stages.box_roi_pool(own, [boxes])))
        are = torch.where(labels > 0)[0]
        mask_logits = model.roi.mask_head(model.roi.mask_pool(own, [boxes[are]]))
        masks, classes = (data['objects'][n][name] for name in ('masks', 'classes'))
        losses = (
            *fastrcnn_loss(logits, offsets, [labels], [wanted]),
            maskrcnn_loss(mask_logits, [boxes[are]], [masks.float()], [classes], [matched[are]]),
        )
        expected += torch.stack(losses) / len(proposals)  # the mean of the images
    names = ('loss_class', 'loss_box', 'loss_mask')
    assert torch.allclose(torch.stack([found[name] for name in names]), expected, atol=1e-6)


def test_stages_of_a_cascade_move_boxes_in_turn():
    """Offsets of a tenth of a box's side to the right, then of a twentieth, then none."""
    model = build(type='CascadeRoIHead', min_score=0.0).eval()
    head = model.roi
    outputs = [head.stages.box_predictor, *(stage[1] for stage in head.later)]
    for number, (stage, share) in enumerate(zip(outputs, (0.1, 0.05, 0.0), strict=True)):
        torch.nn.init.zeros_(stage.offsets.weight)
        stage.offsets.bias.data = torch.tensor([10.0 * (number + 1) * share, 0, 0, 0])
        torch.nn.init.zeros_(stage.classes.weight)
        stage.classes.bias.data = torch.zeros(11).index_fill(0, torch.tensor(1 + number), 9.0)
    levels = model.levels(torch.randn(1, 1, 32, 32))
    box = torch.tensor([[4.0, 5, 14, 15]])
    (found,) = head.detect(levels, [box], [(32, 32)])
    assert torch.allclose(found['boxes'][:3], box + torch.tensor([1.5, 0, 1.5, 0]))
    assert set(found['classes'][:3].tolist()) == {0, 1, 2}  # each stage has a third of the say
    assert torch.allclose(found['scores'][:3], torch.tensor(1 / 3), atol=0.01)
    (cut,) = head.detect(levels, [box], [(32, 15)])
    assert cut['boxes'][:, 2].max() == 15


def test_stages_of_a_cascade_ask_for_more_overlap(batch):
    model = build(type='CascadeRoIHead').train()
    head = model.roi
    things = [{'boxes': torch.tensor([[0.0, 0, 10, 10]]), 'labels': torch.tensor([3])}]
    boxes = torch.tensor([[0.0, 0, 10, 5.5], [0, 0, 10, 6.5], [0, 0, 10, 7.5]])
    classes = [head._match([boxes], things, number)[0].tolist() for number in (0, 1, 2)]
    assert classes == [[3, 3, 3], [0, 3, 3], [0, 0, 3]]
    moved = head._moved(head._match([boxes], things, 2)[1], [boxes], [(32, 32)], 2)
    assert torch.allclose(moved[0], things[0]['boxes'].expand(3, 4), atol=1e-4)
    data = model.data_preprocessor(batch, True)
    losses = model(**data, mode='loss')
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())
    empty = [{k: v[:0] for k, v in some.items()} for some in data['objects']]
    assert model(**{**data, 'objects': empty}, mode='loss')['loss_box'] == 0


def test_pooling_not_aligned_is_torchvisions():
    levels = [torch.randn(2, 3, side, side) for side in (64, 32, 16, 8)]
    draw = torch.rand(2, 20, 4) * 200
    boxes = [torch.cat([some[:, :2], some[:, :2] + some[:, 2:] + 1], 1) for some in draw]
    pool = MultiScaleRoIAlign(['0', '1', '2', '3'], 7, 0)
    expected = pool({str(n): x for n, x in enumerate(levels)}, boxes, [(256, 256)] * 2)
    found = RoIPool(7, (4, 8, 16, 32), aligned=False)(levels, boxes)
    assert torch.allclose(found, expected, atol=1e-5)


def test_one_pooled_feature_is_the_mean_over_the_box():
    torch.manual_seed(0)
    level = torch.randn(1, 3, 8, 8)
    (found,) = RoIPool(1, (4,))([level], [torch.tensor([[8.0, 4.0, 20.0, 24.0]])])
    # Its samples lie a cell apart, at the cells' own centres.
    assert torch.allclose(found[:, 0, 0], level[0, :, 1:6, 2:5].mean((1, 2)), atol=1e-6)


def test_without_a_neck_the_level_is_the_encoders_map(batch):
    model = build(SINGLE_SCALE)
    assert len(model.roi.stages.box_head) == 3  # flattening, the linear layer, ReLU
    inputs = model.data_preprocessor(batch)['inputs']
    (level,), (of_encoder,) = model.levels(inputs), model.encoder.maps(inputs, [1])
    assert torch.equal(level, of_encoder)
    with pytest.raises(ValueError, match=r'model\.taps must name one block .*, not \[0, 1\]'):
        MODELS.build({**SINGLE_SCALE, 'taps': [0, 1]})
    with pytest.raises(ValueError, match=r'^rpn\.sizes must have 1 size, .*, not \[8, 16, 32\]'):
        MODELS.build({**SINGLE_SCALE, 'rpn': {'type': 'RPN', 'sizes': [8, 16, 32]}})


def test_masks_within_boxes_and_back():
    masks = torch.zeros(2, 40, 50, dtype=torch.bool)
    masks[0, 4:20, 10:38] = True
    masks[0, 4:12, 10:24] = False
    masks[1, 8:30, 6:28] = True
    boxes = torch.tensor([[10.0, 4, 38, 20], [6, 8, 28, 30]])
    within = mask_targets(masks, torch.arange(2), boxes, 28)
    assert torch.equal(paste_masks(within, boxes, (40, 50)), masks)
    plain = mask_targets(masks, torch.arange(2), boxes, 28, aligned=False)
    expected = project_masks_on_boxes(masks.float(), boxes, torch.arange(2), 28)
    assert torch.allclose(plain, expected)
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (4, 5)).shape == (0, 4, 5)


def test_images_without_objects_train(batch):
    model = build().train()
    data = model.data_preprocessor(batch, True)
    data['objects'] = [{k: v[:0] for k, v in things.items()} for things in data['objects']]
    losses = model(**data, mode='loss')
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()


def test_crowds_are_nothing_to_find(batch):
    model = build().train()
    data = model.data_preprocessor(batch, True)
    crowds = [{**things, 'crowd': torch.ones_like(things['crowd'])} for things in data['objects']]
    torch.manual_seed(0)
    losses = model(**{**data, 'objects': crowds}, mode='loss')
    assert losses['loss_box'] == 0
    assert losses['loss_mask'] == 0


@pytest.mark.parametrize('options', [{}, {'load_pos': False}, {'pos_img_size': 16}])
def test_pretrained_weights_fit(options):
    """Of an encoder with a cls token and another size; all that is new starts fresh."""
    arch = CONFIG['encoder']['arch']
    plain = ViTEncoder(arch, 16, patch_size=4, in_channels=1)
    plain.init_weights()
    weights = {f'encoder.{name}': value for name, value in plain.state_dict().items()}
    model = MODELS.build({**CONFIG, 'encoder': {**CONFIG['encoder'], **options}})
    model.init_weights()
    own = model.encoder.pos_embed.clone()
    report = str(fit_weights(model, weights, Path('file'), facts={'grid_size': [4, 4]}))
    assert 'start fresh (encoder, neck, roi, rpn)' in report
    assert 'cls_token stays out' in report
    assert torch.equal(model.encoder.blocks[1].mlp.fc1.weight, plain.blocks[1].mlp.fc1.weight)
    resampled = resample_pos_embed(plain.pos_embed[:, 1:], model.encoder.pos_grid_size, 0)
    wanted = own if options == {'load_pos': False} else resampled
    assert torch.equal(model.encoder.pos_embed, wanted)
    again = MODELS.build({**CONFIG, 'encoder': {**CONFIG['encoder'], **options}})
    fit_weights(again, model.state_dict(), Path('file'), exact=True, facts=model.get_facts())
    assert torch.equal(again.roi.mask_head.classify.weight, model.roi.mask_head.classify.weight)
    partly = {k: v for k, v in model.state_dict().items() if 'blocks.0.rel_pos' not in k}
    with pytest.raises(CheckpointError, match='rel_pos'):
        fit_weights(again, partly, Path('file'))


def test_a_batch_cut_in_two_has_the_loss_of_the_whole(batch):
    """Samples follow the image's key, and losses are means over the images."""
    model = build(samples=8).train()
    data = model.data_preprocessor(batch, True)

    def losses(part, seed):
        torch.manual_seed(seed)
        cut = {k: data[k][part] for k in ('inputs', 'objects', 'keys')}
        return torch.stack(list(model(**cut, mode='loss').values()))

    whole = losses(slice(None), 0)
    assert torch.equal(whole, losses(slice(None), 1))
    parts = [losses(slice(n, n + 1), n) for n in range(4)]
    assert torch.allclose(torch.stack(parts).mean(dim=0), whole, rtol=1e-5, atol=1e-7)
    data['keys'] = data['keys'] + 1
    assert not torch.allclose(losses(slice(None), 0), whole, rtol=1e-5)


def test_objects_of_one_pixel_train(batch):
    model = build().train()
    data = model.data_preprocessor(batch, True)
    for things in data['objects']:
        things['boxes'] = torch.cat([things['boxes'][:, :2], things['boxes'][:, :2] + 1], dim=1)
        things['masks'] = torch.zeros_like(things['masks'])
        for mask, (left, top, *_) in zip(things['masks'], things['boxes'].long(), strict=True):
            mask[top, left] = True
    losses = model(**data, mode='loss')
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match='box_loss'):
        build(box_loss='l2')
    for ious in ((0.5,), (0.6, 0.7), (0.5, 0.5), (0.5, 1.0)):
        with pytest.raises(ValueError, match=r'roi\.ious'):
            build(type='CascadeRoIHead', ious=ious)
    with pytest.raises(ValueError, match='taps'):
        MODELS.build({**CONFIG, 'taps': [2]})
    with pytest.raises(ValueError, match=r'^rpn\.sizes must have 5 sizes'):
        MODELS.build({**CONFIG, 'rpn': {'type': 'RPN', 'sizes': [8, 16]}})
    with pytest.raises(ValueError, match=r'levels must have one width, not \[8, 16\]'):
        RPN(sizes=[8, 16], channels=[8, 16])
    for wrong in ({'sizes': [4, 8, 16, 24, -32]}, {'ratios': []}, {'ratios': [0.0]}):
        with pytest.raises(ValueError, match=r'rpn\.sizes and rpn\.ratios'):
            MODELS.build({**CONFIG, 'rpn': {**CONFIG['rpn'], **wrong}})
    for wrong in ({'samples': 0}, {'proposals': ((10, 0), (10, 10))}):
        with pytest.raises(ValueError, match=r'rpn: .* at least 1, not 0'):
            MODELS.build({**CONFIG, 'rpn': {**CONFIG['rpn'], **wrong}})
    with pytest.raises(ValueError, match='roi: box_convs must be at least 0, not -1'):
        build(box_convs=-1)
    for name in ('width', 'box_side', 'hidden', 'samples', 'max_detections'):
        with pytest.raises(ValueError, match=f'roi: {name} must be at least 1, not 0'):
            build(**{name: 0})
    with pytest.raises(ValueError, match='neck: channels'):
        MODELS.build({**CONFIG, 'neck': {'type': 'SimplePyramid', 'channels': 0}})
