"""The tables of weights and results are those that the metafiles give."""

import importlib.util
import re
from collections import Counter
from pathlib import Path

import figures
import pytest

from mae.apis import find_config

ROOT = Path(__file__).parents[2]
SETS = ('A', 'R', 'Sketch')
BEGIN, END = '<!-- zoo: written by docs/zoo.py -->', '<!-- /zoo -->'


def load_docs_zoo():
    spec = importlib.util.spec_from_file_location('docs_zoo', ROOT / 'docs/zoo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def docs_zoo():
    return load_docs_zoo()


def test_tables_are_up_to_date(docs_zoo):
    for name in docs_zoo.pages():
        text = (ROOT / name).read_text()
        assert docs_zoo.rewrite(name, text) == text, f'{name} is old; run: python docs/zoo.py'


@pytest.mark.parametrize('failure', ['a marker', 'a figure', 'a note'])
def test_what_cannot_be_renewed_is_one_line_and_nothing_is_written(failure, tmp_path, monkeypatch):
    docs_zoo = load_docs_zoo()
    head, end = '<!-- measured: written by docs/zoo.py -->\n', '<!-- /measured -->\n'
    good = f'{head}old\n{end}'
    (tmp_path / 'a.md').write_text(good)
    (tmp_path / 'b.md').write_text(head if failure == 'a marker' else good)

    def table():
        find = figures.find_cell if failure == 'a note' else figures.find_speeds
        return find(*(('note', 'x', 'y') if failure == 'a note' else ('file.json', 'mae')))

    told = {
        'a marker': 'b.md must hold each of its blocks once',
        'a figure': r'/file\.json: no speeds of mae',
        'a note': r'No such file or directory: .*/note\.md',
    }
    (tmp_path / 'benchmarks').mkdir()
    (tmp_path / 'benchmarks/file.json').write_text('{"systems": {}}')
    blocks = {
        'a.md': {'measured': lambda page: ['new']},
        'b.md': {'measured': docs_zoo.figures_of(table)},
    }
    monkeypatch.setattr(docs_zoo, 'ROOT', tmp_path)
    monkeypatch.setattr(docs_zoo, 'pages', lambda: blocks)
    monkeypatch.setattr(figures, 'NOTES', tmp_path)
    with pytest.raises(SystemExit, match=f'^error: .*{told[failure]}[^\\n]*$'):
        docs_zoo.main([])
    assert (tmp_path / 'a.md').read_text() == good


def test_every_entry_has_its_row(docs_zoo):
    page = (ROOT / 'docs/en/model_zoo.md').read_text()
    files = ''.join(path.read_text() for path in (ROOT / 'configs').rglob('README.md'))
    for entry in docs_zoo.all_entries():
        assert f'| `{entry.name}` |' in page
        assert f'[{entry.file}]({entry.url})' in files
        assert f'{entry.training_flops / 1e9:.1f} G' in page


def test_a_published_number_stands_once(docs_zoo):
    numbers = docs_zoo.all_numbers()
    places = Counter((n.config, n.metric, n.source) for n in numbers)
    assert {place: count for place, count in places.items() if count > 1} == {}
    published = {str(number.value) for number in numbers}
    for path in (*(ROOT / name for name in docs_zoo.pages()), *(ROOT / 'configs').rglob('*.py')):
        written = set(re.findall(r'\b\d\d\.\d+\b', docs_zoo.BLOCK.sub('', path.read_text())))
        assert written & published == set(), f'{path} states what a metafile holds'


def test_a_result_names_shipped_configs(docs_zoo):
    for number in docs_zoo.all_numbers():
        for config in filter(None, (number.config, number.pretrained)):
            assert find_config(config).stem == config


def test_every_config_has_its_row(docs_zoo):
    for readme in (ROOT / 'configs').rglob('README.md'):
        blocks = ''.join(match[2] for match in docs_zoo.BLOCK.finditer(readme.read_text()))
        for leaf in readme.parent.glob('*.py'):
            assert f'| `{leaf.stem}` |' in blocks, f'{readme} has no row of {leaf.name}'


def test_result_stands_in_the_tables_of_its_pretraining_too(docs_zoo):
    pretrained = 'mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k'
    tuned = 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'
    theirs = docs_zoo.find_numbers(tuned, docs_zoo.TOP1)
    assert [number.value for number in theirs] == [83.664, 83.5]
    assert docs_zoo.find_numbers(pretrained, docs_zoo.TUNED) == theirs


def test_the_papers_results_by_data_set(docs_zoo):
    head, _, *rows = docs_zoo.by_set(ROOT / 'configs/robustness/README.md')
    assert head == '| set | ViT-B | ViT-L | ViT-H/14 | ViT-H/14 at 448 |'
    sets = [row.split(' |')[0] for row in rows]
    assert sets == ['| ImageNet-C, mCE (lower is better)', *map('| ImageNet-{}'.format, SETS)]
    for row, data in zip(rows[1:], ('in-a', 'in-r', 'in-sketch'), strict=True):
        huge = docs_zoo.find_numbers(f'vit-huge-p14_test-8xb128_{data}-448', docs_zoo.TOP1)
        assert row.endswith(f' {huge[-1].value} |')


def test_half_a_pair_of_markers_is_refused(docs_zoo):
    other = BEGIN.replace('zoo:', 'other:')
    for page in (BEGIN, END, f'{BEGIN}\n{END}\n{BEGIN}\n{END}', f'{other}\n<!-- /other -->'):
        with pytest.raises(ValueError, match=r'model_zoo\.md must hold .* it may have zoo'):
            docs_zoo.rewrite('docs/en/model_zoo.md', page)
    page = f'a\n{BEGIN}\nold\n{END}\nb'
    renewed = docs_zoo.rewrite('docs/en/model_zoo.md', page)
    assert renewed.startswith('a\n')
    assert renewed.endswith('\nb')
    assert 'old' not in renewed
    assert '| 83.664 | 67.8 | the authors | CC-BY-NC-4.0 | encoder only |' in renewed


def test_new_folder_needs_a_block_and_a_metafile(tmp_path, monkeypatch):
    docs_zoo, folder = load_docs_zoo(), tmp_path / 'configs/new'
    folder.mkdir(parents=True)
    for size in ('large', 'base'):
        (folder / f'vit-{size}_in-a.py').write_text(f'"""ViT-{size}; inherited."""\n')
    (tmp_path / 'model-index.yml').write_text('Import: [configs/new/metafile.yml]')
    (folder / 'metafile.yml').write_text(
        'Models: []\n'
        'Published: [{Config: vit-base_in-a, Source: the paper, Metrics: {ImageNet-A: 35.9}}]'
    )
    monkeypatch.setattr(docs_zoo, 'ROOT', tmp_path)
    monkeypatch.setattr(docs_zoo, 'INDEX', tmp_path / 'model-index.yml')
    begin, end = '<!-- results: written by docs/zoo.py -->', '<!-- /results -->'
    readme = folder / 'README.md'
    readme.write_text(f'{begin}\n{end}')
    assert docs_zoo.rewrite('configs/new/README.md', readme.read_text()).splitlines() == [
        begin,
        '| config | what | ImageNet-A |',
        '| --- | --- | --- |',
        '| `vit-base_in-a` | ViT-base | 35.9 ¹ |',
        '| `vit-large_in-a` | ViT-large | none known |',
        '',
        '¹ the paper.',
        end,
    ]


def test_unknown_config_is_one_line(docs_zoo):
    with pytest.raises(SystemExit, match=r'error: no such config: nope'):
        docs_zoo.main(['nope'])
