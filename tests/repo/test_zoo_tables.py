"""The tables of weights are those that the metafiles give."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def docs_zoo():
    spec = importlib.util.spec_from_file_location('docs_zoo', ROOT / 'docs/zoo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_up_to_date(docs_zoo):
    for name in docs_zoo.PAGES:
        text = (ROOT / name).read_text()
        assert docs_zoo.rewrite(name, text) == text, f'{name} is old; run: python docs/zoo.py'


def test_every_entry_has_its_row(docs_zoo):
    page = (ROOT / 'docs/en/model_zoo.md').read_text()
    files = ''.join(path.read_text() for path in (ROOT / 'configs').rglob('README.md'))
    for entry in docs_zoo.all_entries():
        assert f'| `{entry.name}` |' in page
        assert f'[{entry.file}]({entry.url})' in files
        assert f'{entry.training_flops / 1e9:.1f} G' in page


def test_half_a_pair_of_markers_is_refused(docs_zoo):
    with pytest.raises(ValueError, match=r'model_zoo\.md must hold'):
        docs_zoo.rewrite('docs/en/model_zoo.md', docs_zoo.BEGIN)
    page = f'a\n{docs_zoo.BEGIN}\nold\n{docs_zoo.END}\nb'
    renewed = docs_zoo.rewrite('docs/en/model_zoo.md', page)
    assert renewed.startswith('a\n')
    assert renewed.endswith('\nb')
    assert 'old' not in renewed
    assert '| 83.664 | 67.8 | the authors | CC-BY-NC-4.0 | encoder only |' in renewed
