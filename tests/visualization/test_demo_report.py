"""The report of the demo says what the summary and the logs say, and nothing else."""

import copy
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from mae.visualization.demo_report import demo_report
from mae.visualization.panels import Panel

SUMMARY = {
    'pretrain': {'loss_first': 1.2345, 'loss_last': 0.2781, 'images_per_second': 1873.2},
    'knn': {'top1': 97.31},
    'finetune': {'top1': [95.11, 96.21, 94.32], 'mean': 95.213, 'std': 0.95},
    'scratch': {
        'top1': [54.13, 51.17, 55.19],
        'mean': 53.497,
        'std': 2.08,
        'epochs': 61,
        'base_lr': 0.005,
        'lr': 0.0009765625,
        'is_best_at_edge': False,
        'grid': [
            {'base_lr': 0.002, 'lr': 3.9e-4, 'top1': [44.41, 43.1, 42.2], 'mean': 43.2, 'std': 1.1},
            {'base_lr': 0.005, 'lr': 9.8e-4, 'top1': [54.13, 51.17, 55.19], 'mean': 53.5, 'std': 2},
            {'base_lr': 0.01, 'lr': 2e-3, 'top1': [58.73, 31.1, 30.9], 'mean': 40.2, 'std': 16.0},
        ],
    },
    'margin': {'scratch': 41.716},
    'seconds': {'import': 9.1, 'pretrain': 199.2, 'total': 283.4},
    'setup': {
        'train_images': 1437,
        'val_images': 360,
        'labels': 100,
        'mask_ratio': 0.75,
        'finetune_epochs': 61,
        'seeds': [0, 1, 2],
        'cores': 2,
        'cpu': 'A <fast> CPU',
    },
    'versions': {'mae': '0.1.0', 'torch': '2.14.1'},
    'commands': ['OMP_NUM_THREADS=1 python tools/train.py some-config --work-dir "a b"'],
}
LOGS = {
    'pretrain': [{'epoch': e, 'loss': 2.0 / e, 'lr': 0.001 * e, 'step': e} for e in (1, 2, 3)],
    'finetune': [
        *({'epoch': e, 'loss': 1.0 / e, 'base_lr': 0.002, 'step': e} for e in (1, 2)),
        {'top1': 95.11, 'step': 2},
    ],
    'scratch': [{'epoch': e, 'loss': 2.0 / e, 'base_lr': 0.001, 'step': e} for e in (1, 2)],
}
PANELS = [Panel(*(np.full((4, 4), level, dtype=np.uint8) for level in (1, 2, 3)))] * 2


def render(summary=SUMMARY, logs=LOGS):
    return demo_report(summary, logs, PANELS, [3, 8])


def text_of(html):
    """What a reader sees."""
    body = html[html.index('<body>') :]
    return ' '.join(unescape(re.sub(r'<[^>]+>', ' ', body)).split())


@pytest.mark.parametrize(
    'value',
    [
        *('95.2 %', '53.5 %', '97.3 %', '1.234 → 0.278', '1,873', '4:43', '3:19', '1,437', '360'),
        *('95.1', '96.2', '94.3', '54.1', '51.2', '55.2', '44.4', '58.7', '0.000977', '61 epochs'),
        *('95.2 ± 0.9 %', '53.5 ± 2.1 %', '43.2 ± 1.1', '40.2 ± 16.0', '41.7 points less'),
        *('75 %', '2.14.1', 'A <fast> CPU', SUMMARY['commands'][0]),
    ],
)
def test_values_are_shown(value):
    assert value in text_of(render())


def test_values_follow_the_summary():
    summary = copy.deepcopy(SUMMARY)
    summary['finetune'] = {'top1': [11.1, 12.2, 13.3], 'mean': 12.2, 'std': 1.1}
    summary['margin'] = {'scratch': -41.3}
    text = text_of(render(summary))
    assert 'names 12.2 % of' in text
    assert '41.3 points more' in text
    assert '95.2' not in text
    assert '94.3' not in text


def test_nothing_is_loaded_from_elsewhere():
    html = render()
    assert 'http' not in html.replace('http-equiv', '')
    assert 'url(' not in html
    assert html.count('<script') == 1  # which copies commands
    assert '<link' not in html
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert len(sources) == 3 * len(PANELS)
    assert all(source.startswith('data:image/png;base64,') for source in sources)


def test_curves_have_a_point_for_each_record():
    paths = re.findall(r'<path d="([^"]+)" style', render())
    counts = [len(re.findall(r'[ML]', path)) for path in paths if 'H' not in path]
    assert counts == [3, 3, 2, 2, 2, 2]


def test_favour_to_the_baseline_is_said():
    text = text_of(render())
    assert 'favours the baseline' in text
    assert 'edge of the grid' not in text


def test_edge_of_the_grid_is_said():
    summary = copy.deepcopy(SUMMARY)
    summary['scratch']['is_best_at_edge'] = True
    assert 'edge of the grid' in text_of(render(summary))


def test_longer_training_has_a_row_and_its_margin():
    assert 'make demo ARGS=--longer measures it' in text_of(render())
    summary = copy.deepcopy(SUMMARY)
    more = {'top1': [71.1, 72.2, 73.3], 'mean': 72.2, 'std': 1.1, 'epochs': 183, 'base_lr': 0.002}
    summary['longer'] = {**summary['scratch'], **more}
    summary['margin']['longer'] = 23.01
    text = text_of(render(summary))
    assert 'from scratch, 183 epochs 71.1 72.2 73.3 72.2 ± 1.1' in text
    assert 'it comes to 72.2 ± 1.1 %: pre-training still adds 23.0.' in text
    assert '--longer' not in text


def test_pictures_say_what_is_not_predicted():
    noted = [replace(panel, note='The model predicts neither.') for panel in PANELS]
    text = text_of(demo_report(SUMMARY, LOGS, noted, [3, 8]))
    assert ' The model predicts neither.' in text


def test_log_without_losses_is_an_error():
    with pytest.raises(ValueError, match="no 'loss'"):
        render(logs={**LOGS, 'pretrain': [{'top1': 1.0}]})
