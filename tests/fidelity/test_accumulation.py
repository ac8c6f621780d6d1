"""A global batch in parts has the gradient of the whole, the last and smaller one too.

1,437 digits make 22 global batches of 64 and one of 29, through the shipped configs' runner.
Figures: `pytest tests/fidelity/test_accumulation.py -rP`.
"""

import pytest
import torch
from mmengine.hooks import Hook


class Gradients(Hook):
    """All gradients, as one vector, of each optimizer step; and the samples of each."""

    def __init__(self):
        self.seen, self.sizes = [], []

    def before_train(self, runner):
        runner.optim_wrapper.optimizer.register_step_pre_hook(self.note)

    def note(self, optimizer, args, kwargs):
        params = [param for group in optimizer.param_groups for param in group['params']]
        self.seen.append(torch.cat([param.grad.flatten() for param in params]))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.sizes.append([len(batch['ids']) for batch in data_batch])


@pytest.mark.parametrize('job', ['pretrain', 'finetune'])
def test_four_parts_make_one_batch(job, demo, make_runner):
    runs = []
    for batch_size in (64, 16):
        options = {
            **demo['small'],
            # Plain descent keeps the two alike; AdamW blows up the rounding of tiny gradients.
            'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', momentum=0.9),
            'base_lr': 0.2,
            'global_batch_size': 64,
            'train_dataloader.batch_size': batch_size,
            'train_dataloader.sampler.drop_last': False,
            'train_dataloader.dataset.source': dict(_delete_=True, type='Digits', split='train'),
            'train_cfg.max_epochs': 1,
            'param_scheduler.warmup_epochs': 0,
        }
        if job == 'finetune':
            options['model.encoder.drop_path_rate'] = 0.0  # drawn for each part
            options['train_cfg.val_interval'] = 1000
        runner, gradients = make_runner(demo[job], options), Gradients()
        runner.register_hook(gradients)
        runner.train()
        runs.append(gradients)
    whole, parts = runs
    assert whole.sizes == [[64]] * 22 + [[29]]
    assert parts.sizes == [[16] * 4] * 22 + [[14, 15]]
    pairs = zip(parts.seen, whole.seen, strict=True)
    deviations = [((a - b).norm() / b.norm()).item() for a, b in pairs]
    print(
        f'{job}: {len(deviations)} steps, largest deviation of the gradient '
        f'{max(deviations):.1e}, of the last {deviations[-1]:.1e}'
    )
    assert max(deviations) < 1e-5
