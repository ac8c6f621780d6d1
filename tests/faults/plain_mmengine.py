"""A training as mmengine alone does it, comparable to the bench's: `plain_mmengine.py WORK_DIR`.

Its runner, loop, sampler and `CheckpointHook`, as its documentation has them, and seeded.
mmengine 0.10.7 cannot read its own checkpoints with torch 2.6 or newer unless
`TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` is set, so the harness sets it.
"""

import json
import os
import sys
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from mae.utils.digest import weights_sha256


class Digits(Dataset):
    """The 1,437 digits, shifted at random as the bench's are."""

    def __init__(self):
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        self.images = torch.from_numpy(images[:1437]).float().view(-1, 1, 8, 8) / 16
        self.labels = torch.from_numpy(labels[:1437]).long()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        shift = torch.randint(-1, 2, (2,)).tolist()
        return dict(inputs=self.images[index].roll(shift, (1, 2)), labels=self.labels[index])


class Classifier(BaseModel):
    """Two layers with dropout."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10)
        )

    def forward(self, inputs, labels, mode='loss'):
        return dict(loss=F.cross_entropy(self.body(inputs), labels))


class Phase(Hook):
    """Notes how far the run is."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        Path(runner.work_dir, 'step').write_text(str(runner.iter + 1))


def main(work_dir, resume):
    runner = Runner(
        model=Classifier(),
        work_dir=work_dir,
        train_dataloader=dict(
            dataset=Digits(),
            batch_size=128,
            num_workers=0,
            drop_last=True,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=40),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=dict(type='CosineAnnealingLR', T_max=40, convert_to_iter_based=True),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False, max_keep_ckpts=2),
            logger=dict(type='LoggerHook', interval=5),
        ),
        custom_hooks=[Phase()],
        randomness=dict(seed=0, deterministic=True),
        resume=resume,
    )
    runner.train()
    text = json.dumps(
        {'state': 'finished', 'weights_sha256': weights_sha256(runner.model.state_dict())}
    )
    Path(work_dir, 'run.json').write_text(text)


if __name__ == '__main__':
    torch.set_num_threads(1)
    os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'
    main(sys.argv[1], '--resume' in sys.argv)
