"""The table says what the runs measured, in three formats, and whether the order is the paper's."""

import copy
import json
import re
from html import unescape

import pytest

from mae.protocol.render import html, markdown, write_table
from mae.protocol.table import order_of


def row(title, protocol, top1, mean, std, seconds=90.0, config='vit-mini-p4_x', share=None):
    commands = [f'python tools/train.py {config} --seed {seed}' for seed in range(len(top1))]
    cost = {'seconds': seconds, 'device_seconds': 2 * seconds}
    names = {'key': title, 'title': title, 'protocol': protocol, 'config': config, 'share': share}
    return {**names, 'top1': top1, 'mean': mean, 'std': std, **cost, 'commands': commands}


ROWS = [
    row('k-NN', 'knn', [97.51], 97.51, None),
    row('partial, no block', 'partial', [80.0, 84.0], 82.0, 2.83),
    row('partial, 1 block', 'partial', [90.0, 92.0], 91.0, 1.41),
    row('fine-tuned, 1 %', 'finetune', [60.0, 70.0], 65.0, 7.07, share=0.01),
    row('fine-tuned, 100 %', 'finetune', [98.0, 99.0], 98.5, 0.71, share=1.0),
    row('from scratch', 'scratch', [96.0, 97.0], 96.5, 0.71, config='a<b'),
]
TABLE = {
    'command': "python tools/protocol.py 'my config' --seeds 2",
    'arch': 'vit-mini-p4',
    'pretrain': {
        'checkpoint': 'work/epoch_2.pth',
        'sha256': '0123456789abcdef',
        'config': 'mae_vit-mini-p4',
        'loss': 0.12345,
        'seconds': 200.0,
        'device_seconds': 400.0,
        'commands': ['python tools/train.py mae_vit-mini-p4'],
    },
    'rows': ROWS,
    'order': order_of(ROWS),
    'seconds': 740.0,
    'device_seconds': 1480.0,
    'device': 'GPU',
    'devices': 2,
    'machine': 'Some GPU',
    'versions': {'mae': '0.1.0', 'torch': '2.14.1'},
}


def text_of(page):
    body = page[page.index('<body>') :]
    return ' '.join(unescape(re.sub(r'<[^>]+>', ' ', body)).split())


def changed(index, **values):
    rows = copy.deepcopy(ROWS)
    rows[index].update(values)
    return rows


def test_markdown_has_a_line_for_each_row():
    lines = [line for line in markdown(TABLE).splitlines() if line.startswith('| ')]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert cells[0] == ['protocol', 'top-1, %', 'spread', 'runs', 'GPU, min:s', 'config']
    assert cells[1] == ['pre-training', '', '', '1', '6:40', '`mae_vit-mini-p4`']
    assert cells[2] == ['k-NN', '97.5', '', '1', '3:00', '`vit-mini-p4_x`']
    assert cells[3][:4] == ['partial, no block', '82.0', '± 2.8', '2']
    assert len(cells) == 2 + len(ROWS)


@pytest.mark.parametrize(
    'value',
    [
        *(
            '97.5',
            '± 7.1',
            '96.5',
            '6:40',
            'SHA-256 01234567',
            '0.1235',
            '2 GPUs, Some GPU',
            '24:40',
        ),
        *('2.14.1', TABLE['command'], 'a<b', 'figure 9'),
    ],
)
def test_both_pages_show(value):
    assert value in markdown(TABLE)
    assert value in text_of(html(TABLE))


def with_cpu_time(table):
    """The table of runs on CPUs, half busy."""
    halved = [{**row, 'cpu_seconds': row['seconds'] / 2} for row in (table['pretrain'], *ROWS)]
    cost = {'device': 'CPU core', 'cpu_seconds': table['seconds'] / 2}
    return {**table, **cost, 'pretrain': halved[0], 'rows': halved[1:]}


def test_on_cpus_the_cpu_time_is_the_cost():
    text = markdown(with_cpu_time(TABLE))
    assert '| CPU time, min:s |' in text
    assert '| pre-training |  |  | 1 | 1:40 |' in text
    assert '12:20 (min:s) of runs by the clock, 6:10 of CPU time; on 2 CPU cores' in text


def test_without_the_cpu_time_of_every_run_the_clock_counts():
    text = markdown({**with_cpu_time(TABLE), 'cpu_seconds': None})
    assert '| CPU core, min:s |' in text
    assert '| pre-training |  |  | 1 | 6:40 |' in text
    assert '24:40 of one CPU core by the clock' in text


def test_page_lists_each_command_once():
    text = text_of(html(TABLE))
    assert text.count('python tools/train.py vit-mini-p4_x --seed 1') == 1
    assert text.count('python tools/train.py mae_vit-mini-p4') == 1


def test_a_grid_shows_all_rates_and_the_one_that_counts():
    grid = [
        {'base_lr': rate, 'lr': rate, 'top1': [mean], 'mean': mean, 'std': std}
        for rate, mean, std in ((0.005, 96.5, 0.71), (0.01, 90.0, None))
    ]
    chosen = {'base_lr': 0.005, 'lr': 0.005, 'is_best_at_edge': True, 'grid': grid}
    table = {**TABLE, 'rows': changed(5, **chosen)}
    for text in (markdown(table), text_of(html(table))):
        assert 'from scratch: 0.005: 96.5 ± 0.7, 0.01: 90.0' in text
        assert 'The best mean counts, 0.005, at the edge of the grid' in text
    inside = {**TABLE, 'rows': changed(5, **{**chosen, 'is_best_at_edge': False})}
    assert 'edge' not in markdown(inside)


def test_given_weights_cost_nothing():
    given = {**TABLE, 'pretrain': {'checkpoint': 'w.pth', 'sha256': 'f' * 64}}
    assert 'pre-training' not in markdown(given)
    assert 'Weights: w.pth, SHA-256 ffffffff.' in markdown(given)
    assert 'Weights' not in markdown({**TABLE, 'pretrain': {}})


def test_pages_without_an_order_have_no_heading():
    bare = {**TABLE, 'order': []}
    assert '## Order' not in markdown(bare)
    assert 'Order' not in text_of(html(bare))


def test_order_as_expected():
    claims = order_of(ROWS)
    assert len(claims) == 3
    assert all(claim.endswith(': yes') for claim in claims)
    assert order_of(ROWS[:2]) == []


def test_order_that_is_not_as_expected_is_said():
    fewer_is_better = order_of(changed(2, mean=81.0))[0]
    assert 'partial, 1 block (81.0) ' in fewer_is_better
    assert 'partial, no block (82.0), within' in fewer_is_better
    assert 'beyond the spread' in order_of(changed(2, mean=70.0))[0]
    assert 'from scratch (99.0), within' not in order_of(changed(5, mean=99.5))[2]
    single = changed(5, mean=99.5, std=None)
    single[4]['std'] = None
    assert order_of(single)[2].endswith('is below from scratch (99.5)')


def test_from_scratch_is_compared_with_fine_tuning_on_the_same_labels():
    few = row('from scratch, 1 %', 'scratch', [66.0, 70.0], 68.0, 2.8, share=0.01)
    assert order_of([*ROWS, few])[2].endswith(
        ': no; fine-tuned, 1 % (65.0) is below from scratch, 1 % (68.0), within the spread of the '
        'seeds'
    )


def test_write_makes_three_files_and_a_copy(tmp_path):
    write_table(TABLE, tmp_path, tmp_path / 'copy.md')
    assert json.loads((tmp_path / 'protocol.json').read_text()) == TABLE
    assert (tmp_path / 'protocol.md').read_text() == (tmp_path / 'copy.md').read_text()
    assert (tmp_path / 'protocol.html').read_text().startswith('<!doctype html>')
