"""A figure measured here stands once; pages that show it are told by its source."""

import json
import re
from pathlib import Path

import figures
import pytest

ROOT = Path(__file__).parents[2]
NOTES = ROOT / 'docs/en/notes'
PEER = re.compile(r'([a-z-]+)(?: with Pillow| \(fused kernel\))? ([\d,.]+)')


def test_cell_is_found_by_row_and_column(tmp_path, monkeypatch):
    tables = ['| a | b |\n|---|--:|\n| x | 1 |\n', '| a | c |\n|---|---|\n| x | **2** |\n']
    (tmp_path / 'note.md').write_text('\ntext | no table\n\n'.join(tables))
    monkeypatch.setattr(figures, 'NOTES', tmp_path)
    assert figures.find_cell('note', 'x', 'b') == '1'
    assert figures.find_cell('note', 'x', 'c') == '2'
    for row, column in (('y', 'b'), ('x', 'd')):
        with pytest.raises(ValueError, match=f'note.md: no table with a row "{row}" and a column'):
            figures.find_cell('note', row, column)


def test_a_changed_note_changes_all_pages(monkeypatch):
    """Figures of the README and of the guide follow the note."""
    real = figures.find_cell

    def changed(note, row, column):
        return real(note, row, column).replace('94.4 ± .7', '12.3 ± .4')

    before = [str(figures.measured()), str(figures.by_labels())]
    monkeypatch.setattr(figures, 'find_cell', changed)
    for old, new in zip(before, map(str, (figures.measured(), figures.by_labels())), strict=True):
        assert new == old.replace('94.4 ± .7', '12.3 ± .4') != old


def rows_of_files(kinds):
    """Cells of the rows of the benchmarks' page that link to a file beside it."""
    for line in (NOTES / 'benchmarks.md').read_text().splitlines():
        cells = [cell.strip().replace('**', '') for cell in line[1:-1].split('|')]
        file = re.search(rf'\(benchmarks/((?:{kinds})\w*\.json)\)', line)
        if line[:1] == '|' and file:
            found = json.loads((NOTES / 'benchmarks' / file[1]).read_text())
            yield pytest.param(cells, found, id=file[1])


def shown(text, value):
    """Whether a number as a page shows it is a value, rounded."""
    text = text.replace(',', '')
    digits = len(text.partition('.')[2])
    return abs(float(text) - value) <= 0.5001 * 10**-digits


SPEEDS = list(rows_of_files('step|finetune|loader|evaluate'))
DENSE = list(rows_of_files('detect|segment'))


@pytest.mark.parametrize(('cells', 'found'), SPEEDS)
def test_speeds_of_the_page_are_those_of_their_files(cells, found):
    if 'images/s' not in cells[0] and 'the same' not in cells[0]:
        return  # memory
    _, _, ours, peers, ratios, _ = cells
    assert shown(ours, found['systems']['mae']['images_per_second'])
    named = PEER.findall(peers)
    assert named
    for (peer, speed), ratio in zip(named, ratios.split(', '), strict=True):
        name = peer.replace('-', '_')
        assert shown(speed, found['systems'][name]['images_per_second']), peer
        assert shown(ratio, found['ratio'][name]), peer


@pytest.mark.parametrize(('cells', 'found'), DENSE)
def test_seconds_of_dense_tasks_are_those_of_their_files(cells, found):
    (peer,) = found['ratio']
    ratio, *quartiles = re.findall(r'[\d.]+', cells[4])
    for text, name in ((cells[2], 'mae'), (cells[3], peer)):
        assert shown(text, found['systems'][name]['seconds_per_step'])
    assert shown(ratio, found['ratio'][peer])
    for text, value in zip(quartiles, found['ratio_quartiles'][peer], strict=True):
        assert shown(text, value)


def test_rows_of_files_are_found_at_all():
    assert len(SPEEDS) >= 14
    assert len(DENSE) == 4
