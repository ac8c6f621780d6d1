"""The site: every page can be reached, the reference shows all, pages name keys that exist."""

import importlib.util
import re
from pathlib import Path

import api_pages
import pytest

from mae.config import load_config
from mae.models.heads.linear import LinearHead
from mae.models.heads.linear_grid import LinearGridHead
from mae.utils.dotted_keys import node_at

ROOT = Path(__file__).parents[2]
HOMES = sorted((ROOT / 'docs/en/coming_from').glob('*.md'))
CONFIGS = [
    'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k',
    'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k',
]
SECTIONS = (
    *('model', 'train_dataloader', 'val_dataloader', 'optim_wrapper', 'param_scheduler'),
    *('train_cfg', 'randomness', 'default_hooks'),
)
# Arguments with a default, which the shipped configs do not state.
UNSTATED = {
    *('model.encoder.mlp_ratio', 'model.encoder.in_channels', 'model.encoder.norm_eps'),
    *('model.decoder.mlp_ratio', 'optim_wrapper.clip_grad', 'optim_wrapper.paramwise_cfg'),
    *('default_hooks.checkpoint.save_best', 'model.preprocessor.mixup.mode'),
    *('model.preprocessor.mixup.cutmix_minmax', 'model.trainable_blocks'),
}


@pytest.fixture(scope='module')
def conf():
    pytest.importorskip('sphinx', reason='requirements/docs.txt is not installed')
    spec = importlib.util.spec_from_file_location('docs_conf', ROOT / 'docs/conf.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_object_links_to_its_lines(conf, monkeypatch):
    monkeypatch.setattr(conf, 'REPOSITORY', 'https://example.com/mae')
    monkeypatch.setattr(conf, 'COMMIT', 'abc')
    info = {'module': 'mae.models.heads.linear', 'fullname': 'LinearHead'}
    link = conf.linkcode_resolve('py', info)
    found = re.fullmatch(r'https://example.com/mae/blob/abc/(\S+)#L(\d+)-L\d+', link)
    lines = (ROOT / found[1]).read_text().splitlines()
    assert any('class LinearHead' in line for line in lines[int(found[2]) - 1 :][:3])
    for name in ('LinearHead.none', 'Tensor'):  # no such attribute; another library's
        assert conf.linkcode_resolve('py', info | {'fullname': name}) is None


def test_the_source_of_a_tutorial_keeps_its_name_and_the_search_its_order(conf):
    assert conf.html_sourcelink_suffix == ''  # Sphinx would append it to `.ipynb`
    assert 'Scorer' in Path(conf.html_search_scorer).read_text()


def test_every_page_is_in_the_navigation(conf):
    door = ROOT / f'{conf.root_doc}.md'
    text = conf.navigation(door.read_text())
    listed = re.findall(r'^(/?[\w/.-]+\.(?:md|ipynb))$', text, re.M)
    found = {(ROOT / page[1:] if page[0] == '/' else door.parent / page) for page in listed}
    wanted = {*(ROOT / 'docs/en').rglob('*.md'), *(ROOT / 'configs').rglob('README.md')}
    wanted |= {*(ROOT / 'docs/en/tutorials').glob('*.ipynb')}
    assert {path.resolve() for path in found} >= wanted - {door}
    assert text.count(':caption: ') > 8


def test_the_reference_has_a_page_for_each_package(tmp_path):
    api_pages.write(tmp_path / 'api')
    pages = {path.stem for path in (tmp_path / 'api').iterdir()}
    assert {'mae.apis', 'mae.models.heads', 'mae.datasets.transforms', 'mae.registry'} - pages == {
        'mae.registry'
    }
    text = (tmp_path / 'api/mae.rst').read_text()
    assert '.. automodule:: mae.registry\n' in text
    assert not any(name.startswith('mae.commands') for name in pages)


def test_inherited_options_are_shown():
    (parent, lines), *_ = api_pages.inherited_options(LinearHead)
    names = re.findall(r'^    (\w+):', '\n'.join(lines), re.M)
    assert parent == 'PooledHead'
    assert {'pool', 'norm', 'init_std'} <= set(names)
    assert not {'num_classes', 'embed_dim'} & set(names)  # the class's own
    shown = ''.join(
        line for _, part in api_pages.inherited_options(LinearGridHead) for line in part
    )
    assert 'init_std' in shown


@pytest.mark.parametrize(
    ('line', 'escaped'),
    [
        ('|w| times a*b', r'\|w\| times a\*b'),
        ('`a*b` of `Block`s', r'`a*b` of `Block`\ s'),
        ('    num_classes: N.', r'    num_classes: N\.'),
        ('type_ or base_lr', r'type\_ or base_lr'),
    ],
)
def test_docstrings_hold_no_markup_but_code(line, escaped):
    lines = [line, f'>>> {line}']
    api_pages.prepare_docstring(None, 'function', '', None, None, lines)
    assert lines == [escaped, f'>>> {line}']


def test_no_class_breaks_the_reference():
    names = {
        kind.__name__ for kind in api_pages.all_classes() if [*api_pages.inherited_options(kind)]
    }
    assert {'LinearHead', 'WarmupCosineLR', 'DenseViTEncoder'} <= names


@pytest.mark.parametrize('page', HOMES, ids=lambda path: path.stem)
def test_pages_of_other_homes_name_keys_that_exist(page):
    """In the last column, whose words are ours."""
    configs = [load_config(name) for name in CONFIGS]
    rows = [line.split('|')[-2] for line in page.read_text().splitlines() if line[:1] == '|']
    words = [word.partition('=')[0] for row in rows for word in re.findall(r'`([^`]+)`', row)]
    keys = [word for word in words if word.partition('.')[0] in SECTIONS and '.' in word]
    assert len(keys) > 5
    for key in keys:
        assert key in UNSTATED or any(node_at(one, key) is not None for one in configs), key
