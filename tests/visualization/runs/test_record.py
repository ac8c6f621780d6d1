"""What a run has left is read as it was written; damage of its extras is no harm."""

import pytest

from mae.utils.errors import DataError
from mae.visualization.runs.record import (
    FACTS as FACTS_FILE,
)
from mae.visualization.runs.record import (
    PREDICTIONS,
    copy_pictures,
    find_vis_data,
    picture_path,
    read_facts,
    read_record,
)
from tests.visualization.runs.conftest import FACTS, records


def test_facts_come_back(vis_data):
    folder = vis_data()
    found = read_facts(folder)
    assert found.title == FACTS.title
    assert [tuple(row) for row in found.differences] == FACTS.differences
    assert found.columns == FACTS.columns


@pytest.mark.parametrize(
    'text',
    [
        *('', '3', '{"title": 1}', '{"kind": "MAE"'),
        '{"title": "a", "kind": "MAE", "max_steps": "x"}',
        '{"title": "a", "kind": "MAE", "differences": 5}',
    ],
)
def test_facts_that_are_none_are_none(vis_data, text):
    folder = vis_data(facts=None)
    assert read_facts(folder) is None
    (folder / FACTS_FILE).write_text(text)
    assert read_facts(folder) is None


def test_facts_of_a_later_version_are_read(vis_data):
    folder = vis_data()
    file = folder / FACTS_FILE
    file.write_text(file.read_text().replace('"title"', '"unheard_of": 1, "title"', 1))
    assert read_facts(folder).title == FACTS.title


def test_values_have_their_steps_and_times_are_of_training(vis_data):
    record = read_record(vis_data(), FACTS)
    assert record.values('reconstruction_error') == [(5, 1 / 5), (10, 1 / 10)]
    assert {value for _, value in record.values('time')} == {2.0}
    assert record.step == 10
    assert record.metrics() == ['reconstruction_error', 'features/rankme', 'features/knn']


def test_steps_gone_back_over_are_left_out(vis_data):
    lines = [*records(8), *[r for r in records(10) if r['step'] > 5 and 'iter' in r]]
    record = read_record(vis_data(lines=lines), FACTS)
    assert [step for step, _ in record.values('loss')] == [*range(1, 11)]


def test_pictures_are_cut_where_they_were_put_together(vis_data):
    record = read_record(vis_data(), FACTS)
    assert [step for step, _ in record.pictures] == [5, 10]
    rows = record.rows(record.pictures[1][1])
    assert [[int(p.mean()) for p in row] for row in rows] == [[10, 20, 30, 10]] * 2
    assert {p.shape for row in rows for p in row} == {(4, 4)}


def test_pictures_of_a_resumed_run_end_with_its_step(vis_data, tmp_path):
    copy_pictures(vis_data(), tmp_path / 'new', 7)
    assert [p.name for p in (tmp_path / 'new').rglob('*.png')] == ['5.png']


@pytest.mark.parametrize(
    ('text', 'is_kept'),
    [('{"step": 7}', True), ('{"step": 8}', False), ('{"step', False), ('{"step": 1e400}', False)],
)
def test_predictions_of_a_resumed_run_are_of_a_step_before(vis_data, tmp_path, text, is_kept):
    folder = vis_data()
    (folder / PREDICTIONS).write_text(text)
    copy_pictures(folder, tmp_path / 'new', 7)
    assert (tmp_path / 'new' / PREDICTIONS).exists() == is_kept


def test_nothing_logged_is_said(vis_data, tmp_path):
    folder = vis_data(lines=[{'top1': 1.0, 'step': 1}])
    with pytest.raises(ValueError, match='no training step has been logged'):
        read_record(folder, FACTS)
    assert find_vis_data(tmp_path / 'run') == folder
    assert find_vis_data(tmp_path) is None


def test_a_picture_that_cannot_be_read_is_named(vis_data):
    folder = vis_data()
    sheet = picture_path(folder, 5)
    sheet.write_bytes(sheet.read_bytes()[:40])
    with pytest.raises(DataError, match=r'5\.png cannot be read .*: remove it'):
        read_record(folder, FACTS).rows(sheet)
