"""The page of a run says what its record says, and loads and runs nothing else."""

import hashlib
import re
from base64 import b64encode
from dataclasses import replace
from html import unescape

import pytest

from mae.visualization.runs.page import run_report
from mae.visualization.runs.record import RunFacts, read_record
from tests.visualization.runs.conftest import FACTS, records


@pytest.fixture
def page(vis_data):
    return run_report(read_record(vis_data(), FACTS), '12:00')


def text_of(page):
    body = re.sub(r'<(style|script)>.*?</\1>', '', page, flags=re.S)
    return unescape(re.sub(r'<[^>]+>', ' ', body))


def test_it_says_how_far_the_run_is(page, vis_data):
    assert 'MAE, step 10 of 20, epoch 2, 0:20 min left; 12:00.' in text_of(page)
    done = read_record(vis_data('done', lines=list(records(20))), FACTS)
    long = replace(FACTS, max_steps=10_000)
    assert '5:33 h left' in text_of(run_report(read_record(vis_data('long'), long), ''))
    assert 'MAE, finished after 20 steps' in text_of(run_report(done, '12:00'))


def test_every_part_is_there(page):
    text = text_of(page)
    for words in (
        'Learning curves',
        'training loss',
        'validation loss',
        'What it fills in',
        'with true means',
        'RankMe',
        'k-NN',
        '16',  # images per second: 32 in two seconds
        '25 % of the time of a step is waiting',
        'Values that differ from its-parent',
        'train_cfg.max_epochs',
        'torch',
    ):
        assert words in text.replace('\xa0', ' '), words


def test_pictures_say_what_flatters(page):
    assert '"By itself" takes the average ones of the visible patches' in text_of(page)
    assert [*re.findall(r'for="frame-\d">([^<]+)<', page)] == ['epoch 1', 'epoch 2']
    assert page.count('<img ') == 2 * (2 + 2 * 2)  # two fixed, two at each of two epochs


def test_pictures_of_plain_pixels_flatter_nowhere(vis_data):
    facts = replace(FACTS, has_two_ways=False, num_pictures=1)
    page = run_report(read_record(vis_data(), facts), '')
    assert 'flatters' not in page
    assert 'with true means' not in page


def test_names_are_escaped(page):
    assert '<run>' not in page
    assert '<done>' not in page


def test_commands_name_the_newest_checkpoint(vis_data):
    folder = vis_data()
    (folder.parents[1] / 'epoch_2.pth').touch()
    text = text_of(run_report(read_record(folder, FACTS), ''))
    assert f'mae test config.py {folder.parents[1] / "epoch_2.pth"} && echo' in text


def test_nothing_else_is_loaded_or_run(page):
    (script,) = re.findall(r'<script>(.*?)</script>', page, flags=re.S)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r'\bon\w+=', re.sub(r'<script>.*?</script>', '', page, flags=re.S))
    assert not re.search(r'(src|href)="(?!data:)', page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_record_with_little_in_it_makes_a_page(vis_data):
    lines = [{'loss': float('nan'), 'iter': 1, 'step': 1}, {'loss': 1.0, 'iter': 2, 'step': 2}]
    record = read_record(vis_data(facts=None, lines=lines, pictures=()), RunFacts('run', 'MAE'))
    assert record.images_per_second() is None
    assert 'No config is known' in text_of(run_report(record, ''))


def test_more_pictures_than_there_is_room_for_are_spread(vis_data):
    lines = list(records(40))
    record = read_record(vis_data(lines=lines, pictures=range(1, 46)), FACTS)
    names = re.findall(r'for="frame-\d+">([^<]+)<', run_report(record, ''))
    assert (len(names), names[0], names[-1]) == (12, 'epoch 0.2', 'epoch 8')


def test_metrics_of_each_class_are_rows_and_no_charts(vis_data):
    each = {f'iou_{number}': 1.5 for number in range(150)}
    lines = [*records(), {'miou': 7.25, **each, 'step': 2}]
    page = run_report(read_record(vis_data(lines=lines), FACTS), '12:00')
    assert '<title>iou_7</title>' not in page
    assert '<title>mean IoU, %</title>' in page
    assert re.search(r'iou_7\W+1\.5', text_of(page))


def test_a_checkpoint_is_quoted_and_takes_no_place_but_its_own(vis_data):
    facts = replace(FACTS, commands=[('Go on:', 'mae test MY-CHECKPOINT.py CHECKPOINT')])
    record = replace(read_record(vis_data(), facts), checkpoint="my runs/it's.pth")
    assert """mae test MY-CHECKPOINT.py 'my runs/it'"'"'s.pth'""" in text_of(run_report(record, ''))
