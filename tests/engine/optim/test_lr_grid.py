"""A grid of learning rates in one run: each member ends where a run at its rate ends."""

import pytest
import torch

from mae.engine.optim import LARS

SCALES = (0.25, 1.0, 8.0)
PROBE = {
    'model.trainable_blocks': 0,
    'model.encoder.trainable_pos': False,
    'model.encoder.drop_path_rate': 0.0,
    'model.encoder.final_norm': True,
    'model.preprocessor.mixup': None,
    'optim_wrapper.optimizer': dict(_delete_=True, type='LARS', momentum=0.9, weight_decay=0.01),
    'optim_wrapper.paramwise_cfg.layer_decay': None,
    'train_cfg.max_epochs': 2,
    'val_evaluator.topk': (1, 2),
}


def head(kind, **options):
    return dict(
        _delete_=True, type=kind, num_classes=10, pool='cls', norm='batch', init_std=0.01, **options
    )


@pytest.fixture
def probe(make_runner):
    def run(folder, base_lr, changes):
        changes = {**PROBE, 'base_lr': base_lr, **changes}
        runner = make_runner(folder, changes, classify=True)
        runner.train()
        return runner

    return run


@pytest.mark.parametrize('batch_size', [32, 8], ids=['one batch', 'accumulated'])
def test_each_member_is_trained_as_if_alone(probe, batch_size):
    batch = {'train_dataloader.batch_size': batch_size}
    grid_head = head('LinearGridHead', lr_scales=SCALES)
    changes = {'model.head': grid_head, 'val_evaluator.type': 'GridAccuracy', **batch}
    grid = probe('grid', 2.0, changes)
    assert isinstance(grid.optim_wrapper.optimizer, LARS)
    metrics = grid.val_loop.evaluator.metrics[0]
    values = grid.val_loop.run()
    top1 = [values[f'top1_lr_x{scale:g}'] for scale in SCALES]
    assert values['top1'] == max(top1)
    assert SCALES[top1.index(max(top1))] == values['best_lr_scale']
    assert metrics.topk == (1, 2)

    start = None
    for n, scale in enumerate(SCALES):
        alone = probe(f'alone{n}', 2.0 * scale, {'model.head': head('LinearHead'), **batch})
        for name in ('weight', 'bias'):
            found = getattr(grid.model.head.fcs[n], name)
            expected = getattr(alone.model.head.fc, name)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
        assert alone.val_loop.run()['top1'] == pytest.approx(top1[n])
        assert start is None or not torch.allclose(start, expected, rtol=1e-3)
        start = expected
