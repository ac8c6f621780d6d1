"""A `vis_data` as a run leaves it."""

import json

import numpy as np
import pytest
from PIL import Image

from mae.visualization.runs.record import RunFacts, picture_path, write_facts

FACTS = RunFacts(
    title='a <run>',
    kind='MAE',
    seed=3,
    max_steps=20,
    steps_per_epoch=5,
    images_per_step=32,
    devices='1 x CPU',
    parent='its-parent',
    differences=[('train_cfg.max_epochs', '800', '4')],
    versions=[('torch', '2.14.1')],
    commands=[('Go on:', 'mae test config.py CHECKPOINT && echo "<done>"')],
    sample='8 training images',
    num_pictures=2,
    has_two_ways=True,
)


def records(last=10):
    """Of steps 1 to `last`, two seconds each, and an evaluation of features after each epoch."""
    for step in range(1, last + 1):
        yield {
            'lr': 0.1,
            'loss': 8 / step,
            'time': 2.0,
            'data_time': 0.5,
            'epoch': -(-step // 5),
            'iter': step,
            'step': step,
        }
        if step % 5 == 0:
            yield {'reconstruction_error': 1 / step, 'time': 9.0, 'step': step // 5}
            yield {'features/rankme': float(step), 'features/knn': 50.0, 'step': step}


@pytest.fixture
def vis_data(tmp_path):
    """make(folder, facts, records, pictures): writes one, whose pictures have a level by column."""

    def make(folder='run', facts=FACTS, lines=None, pictures=(5, 10)):
        path = tmp_path / folder / '20260101_000000' / 'vis_data'
        path.mkdir(parents=True)
        text = ''.join(json.dumps(line) + '\n' for line in (lines or records()))
        (path / 'scalars.json').write_text(text)
        if facts is not None:
            write_facts(path, facts)
        for step in pictures:
            sheet = np.repeat(np.array([[10, 20, 30, step]], np.uint8), 4, axis=1)
            picture_path(path, step).parent.mkdir(exist_ok=True)
            Image.fromarray(np.repeat(sheet, 8, axis=0)).save(picture_path(path, step))
        return path

    return make
