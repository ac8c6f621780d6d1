import json
import math
from pathlib import Path

import pytest
from mmengine.hooks import Hook


class Losses(Hook):
    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(float(outputs['loss']))


def rows_of(runner):
    (path,) = Path(runner.work_dir).rglob('vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def lr_of_step(step):
    """One epoch of warm-up to 0.005, one of cosine."""
    return 0.005 * step / 5 if step < 5 else 0.0025 * (1 + math.cos(math.pi * (step - 5) / 5))


@pytest.mark.parametrize('interval', [1, 2, 3, 100])
def test_a_line_is_the_mean_since_the_line_before(make_runner, interval):
    changes = {'default_hooks.logger.interval': interval, 'train_cfg.max_epochs': 2}
    runner = make_runner(changes=changes)
    losses = Losses()
    runner.register_hook(losses)
    runner.train()
    ends = [step for step in range(1, 11) if step % 5 == 0 or (step % 5) % interval == 0]
    rows = rows_of(runner)
    assert [row['step'] for row in rows] == ends
    starts = [0, *ends[:-1]]
    for row, start, end in zip(rows, starts, ends, strict=True):
        part = losses.seen[start:end]
        assert row['loss'] == pytest.approx(sum(part) / len(part), rel=1e-6)
        assert row['epoch'] == (end - 1) // 5 + 1
        # The rate the last of these steps was taken with.
        assert row['lr'] == pytest.approx(lr_of_step(end - 1))
