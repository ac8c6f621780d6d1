"""The first 20 steps of 1 process with batch 2n and of 2 processes with batch n, on crops.

The figure: `pytest tests/fidelity/test_first_steps.py -rP`.
"""

import numpy as np
from mmengine.hooks import Hook

N = 32
PIPELINE = [
    dict(type='RandomResizedCrop', size=16),
    dict(type='RandomFlip'),
    dict(type='PackInputs'),
]
OPTIONS = {
    'train_dataloader.dataset.pipeline': PIPELINE,
    'train_dataloader.dataset.source': dict(
        _delete_=True, type='Subset', source=dict(type='Digits', img_size=16), per_class=32
    ),
    'global_batch_size': 2 * N,
    'train_cfg.max_epochs': 4,  # of 5 steps
    'param_scheduler.warmup_epochs': 1,
}


class Recorder(Hook):
    """Sample ids, pixels after the crop, kept and hidden patches and the loss of each step."""

    def __init__(self):
        self.seen = []
        self.losses = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        (batch,) = data_batch
        model = runner.bare_model
        mask = model.masker(model.encoder.grid_size, batch['keys'])
        found = batch['ids'], batch['inputs'], mask.ids_keep, mask.ids_hide
        self.seen.append([value.numpy().copy() for value in found])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


def test_one_process_and_two(demo, make_runner, processes):
    def train(batch_size, launcher, num_workers):
        options = {
            **OPTIONS,
            **demo['small'],
            'train_dataloader.batch_size': batch_size,
            'train_dataloader.num_workers': num_workers,
            'launcher': launcher,
        }
        runner, recorder = make_runner(demo['pretrain'], options), Recorder()
        runner.register_hook(recorder)
        runner.train()
        return recorder.seen, recorder.losses

    ((one, losses),) = processes(1, lambda: train(2 * N, 'none', 0))
    (first, halves), (second, others) = processes(2, lambda: train(N, 'pytorch', 1))
    assert len(one) == len(first) == len(second) == 20
    for whole, *parts in zip(one, first, second, strict=True):
        for value, *shares in zip(whole, *parts, strict=True):
            assert np.array_equal(value, np.concatenate(shares))
    assert len({value[0].tobytes() for value in one}) == 20
    assert halves == others
    deviation = np.abs(np.array(halves) / losses - 1).max()
    print(f'losses from {losses[0]:.4f} to {losses[-1]:.4f}, largest deviation {deviation:.1e}')
    assert losses[-1] < 0.9 * losses[0]
    assert deviation < 1e-5
