"""Writes the tables of weights, results and foreign keys, or counts: `python docs/zoo.py [CONFIG]`.

A published number stands once, in the metafile of the config that measures it; a figure measured
here in its note (`docs/figures.py`). Every table that shows one elsewhere is a block of a page,
`<!-- NAME: written by docs/zoo.py -->` to `<!-- /NAME -->`. A new folder of configs needs a README
with a block `results`, and a metafile where numbers are known.
"""

import argparse
import ast
import fnmatch
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import figures
from mmengine.config import Config
from mmengine.fileio import load

from mae.apis.cli import explain
from mae.config.grammar import Promise, parse_name
from mae.config.imports.recipe import UNSTATED, Counterpart
from mae.config.imports.tables import FLAG_ROWS, MODEL_ROWS, NEEDLESS, RUN_ROWS
from mae.utils.dotted_keys import node_at
from mae.zoo.index import Entry, read_index

ROOT = Path(__file__).resolve().parents[1]
INDEX = ROOT / 'model-index.yml'
BLOCK = re.compile(r'<!-- ([\w-]+): written by docs/zoo\.py -->\n(.*?)<!-- /\1 -->', re.DOTALL)
MARKER = re.compile(r'<!-- (?:([\w-]+): written by docs/zoo\.py|/([\w-]+)) -->')

LINEAR, TUNED = 'Linear probe Top 1 Accuracy', 'Fine-tune Top 1 Accuracy'
TUNED_448, TOP1 = 'Fine-tune 448 Top 1 Accuracy', 'Top 1 Accuracy'
HEADS = {TUNED: 'fine-tuned', TUNED_448: 'fine-tuned at 448', LINEAR: 'linear probe', TOP1: 'top-1'}
HEADS |= {'Box AP': 'box AP', 'Mask AP': 'mask AP'}
HEADS |= {'mCE': 'mCE', 'Mean Error': 'mean error, not normalised'}
ARCHS = {'base-p16': 'ViT-B', 'large-p16': 'ViT-L', 'huge-p14': 'ViT-H/14'}
SETS = {
    'in-c': 'ImageNet-C, mCE (lower is better)',
    'in-a': 'ImageNet-A',
    'in-r': 'ImageNet-R',
    'in-sketch': 'ImageNet-Sketch',
    'inat17': 'iNaturalist 2017',
    'inat18': 'iNaturalist 2018',
    'inat19': 'iNaturalist 2019',
    'places205': 'Places205',
    'places365': 'Places365',
}
MARKS = '¹²³⁴⁵⁶⁷⁸⁹'
VALUES = {
    'base lr': 'base_lr',
    'layer decay': 'optim_wrapper.paramwise_cfg.layer_decay',
    'drop path': 'model.encoder.drop_path_rate',
}

Lines = list[str]
Write = Callable[[Path], Lines]


# --- what is known --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """A published result.

    Attributes:
        config: name of the config that measures it here.
        metric: its name in the metafile.
        value: in percent, or words where sources disagree.
        source: who published it, and where.
        pretrained: name of the config whose weights it starts from; '' if none or not stated.
        trials: results of the single runs, with blanks between.
    """

    config: str
    metric: str
    value: float | str
    source: str
    pretrained: str = ''
    trials: str = ''

    def of(self, config: str) -> str | None:
        """The metric that this is of a config: of the one that measures, or that pre-trained."""
        if config == self.config:
            return self.metric
        if config != self.pretrained or (promise := parse_name(self.config)) is None:
            return None
        tuned = TUNED if promise.size == 224 else TUNED_448
        return {'ft': tuned, 'linear': LINEAR}.get(promise.job or '')


def all_entries() -> tuple[Entry, ...]:
    """Those of the checkout, whatever is installed."""
    return read_index(INDEX)


@cache
def all_numbers() -> tuple[Number, ...]:
    """All results of the metafiles: those of weights, then the others of each file."""
    found: list[Number] = []
    for name in load(INDEX)['Import']:
        meta = load(ROOT / name)
        for model in meta['Models']:
            for result in model['Results'] or ():
                found += _numbers(Path(model['Config']).stem, model['Metadata'], result['Metrics'])
        for result in meta.get('Published', ()):
            found += _numbers(result['Config'], result, result['Metrics'])
    return tuple(found)


def _numbers(config: str, facts: dict[str, Any], metrics: dict[str, Any]) -> Iterator[Number]:
    source, pretrained = facts['Source'], facts.get('Pretrained', '')
    for metric, value in metrics.items():
        yield Number(config, metric, value, source, pretrained, facts.get('Trials', ''))


def find_numbers(config: str, metric: str) -> list[Number]:
    """What is published of a config, the authors' first, the paper's last."""
    found = [number for number in all_numbers() if number.of(config) == metric]
    return sorted(found, key=lambda n: (n.source != 'the authors', 'the paper' in n.source))


def numbers_of(entry: Entry, metric: str) -> list[Number]:
    """What is published of weights: nothing is, where not even their length is stated."""
    config = entry.config.stem if entry.epochs else ''
    return [number for number in find_numbers(config, metric) if number.source == entry.source]


# --- tables of results ----------------------------------------------------------------------------


@dataclass
class Sources:
    """Footnotes: a mark for each source, in the order in which they appear."""

    names: Lines = field(default_factory=list)

    def cell(self, numbers: Iterable[Number]) -> str:
        """Numbers with the marks of their sources, and the single runs where they are known."""
        parts = []
        for number in numbers:
            if number.source not in self.names:
                self.names.append(number.source)
            runs = f' (trials {number.trials})' if number.trials else ''
            parts.append(f'{number.value} {MARKS[self.names.index(number.source)]}{runs}')
        return ', '.join(parts)

    def lines(self) -> Lines:
        said = ' '.join(f'{MARKS[i]} {name}.' for i, name in enumerate(self.names))
        return ['', said] if said else []


def results(keep: Callable[[Promise], bool] | None = None, values: Sequence[str] = ()) -> Write:
    """A table of the configs of a folder and what is published of each.

    Args:
        keep: which of the configs, by what their names promise; None keeps all.
        values: columns of `VALUES`.
    """

    def write(page: Path) -> Lines:
        leaves = sorted(page.parent.glob('*.py'), key=_order)
        leaves = [leaf for leaf in leaves if keep is None or keep(_promise(leaf))]
        metrics = _metrics([leaf.stem for leaf in leaves])
        sources, rows = Sources(), []
        for leaf in leaves:
            cells = [sources.cell(find_numbers(leaf.stem, m)) for m in metrics]
            rows.append([f'`{leaf.stem}`', _what(leaf), *_values(leaf, values)])
            rows[-1] += [cell or 'none known' for cell in cells]
        head = ['config', 'what', *values, *(HEADS.get(metric, metric) for metric in metrics)]
        return [*_table(head, rows), *sources.lines()]

    return write


def by_size(page: Path) -> Lines:
    """All published results, a column for each size of the network."""
    wanted = [
        (
            f'{HEADS[metric]}, {epochs} epochs of pre-training',
            metric,
            f'mae_vit-*_8xb512-*-{epochs}e_*',
        )
        for metric in (TUNED, TUNED_448, LINEAR)
        for epochs in (300, 400, 800, 1600)
    ]
    wanted += [
        ('half of the last block fine-tuned', TOP1, 'vit-*_ft-half-*'),
        ('the last block fine-tuned', TOP1, 'vit-*_ft-last1-*'),
        ('from scratch', TOP1, 'vit-*_scratch-*'),
    ]
    names = [path.stem for path in sorted((ROOT / 'configs').rglob('*_in1k*.py'))]
    sources, rows = Sources(), []
    for title, metric, pattern in wanted:
        cells = []
        for arch in ARCHS:
            configs = fnmatch.filter(names, pattern.replace('*', arch, 1))
            cells.append(sources.cell(n for name in configs for n in find_numbers(name, metric)))
        if any(cells):
            rows.append([title, *cells])
    return [*_table(['what', *ARCHS.values()], rows), *sources.lines()]


def by_set(page: Path) -> Lines:
    """The paper's results with the configs of a folder: rows are data sets, columns networks."""
    leaves = {leaf: _promise(leaf) for leaf in sorted(page.parent.glob('*.py'), key=_order)}
    leaves = {leaf: name for leaf, name in leaves.items() if _of_paper(leaf)}
    networks = list(dict.fromkeys((name.arch, name.patch, name.size) for name in leaves.values()))
    head = [f'{ARCHS[f"{a}-p{p}"]}{"" if s == 224 else f" at {s}"}' for a, p, s in networks]
    rows = []
    for data, title in SETS.items():
        cells = {
            (name.arch, name.patch, name.size): ', '.join(str(n.value) for n in _of_paper(leaf))
            for leaf, name in leaves.items()
            if name.data == data
        }
        if cells:
            rows.append([title, *(cells.get(network, '') for network in networks)])
    return _table(['set', *head], rows)


def _of_paper(leaf: Path) -> list[Number]:
    return [n for n in all_numbers() if n.config == leaf.stem and n.source == 'the paper']


def decoder_depth(page: Path) -> Lines:
    """What the paper's ablation of the decoder's depth gives, a column for each depth."""
    names = {
        d: f'mae_vit-large-p16_dec-depth{d}_8xb512-amp-coslr-800e_in1k' for d in (1, 2, 4, 8, 12)
    }
    names[8] = 'mae_vit-large-p16_target-pixel_8xb512-amp-coslr-800e_in1k'
    rows = [
        [HEADS[metric], *(str(find_numbers(name, metric)[0].value) for name in names.values())]
        for metric in (TUNED, LINEAR)
    ]
    return _table(['blocks', *map(str, names)], rows)


def _metrics(configs: Lines) -> Lines:
    """All metrics that are published of any of the configs, those of `HEADS` first."""
    found = [number.of(config) for number in all_numbers() for config in configs]
    return [metric for metric in dict.fromkeys([*HEADS, *found]) if metric and metric in found]


def _promise(leaf: Path) -> Promise:
    promise = parse_name(leaf.stem)
    if promise is None:
        raise ValueError(f'{leaf}: its name is not of the grammar')
    return promise


def _order(leaf: Path) -> list[tuple[int, str]]:
    """Small networks first, numbers by their size, a shorter name before a longer one."""
    name = leaf.stem.replace('_', ' ')
    for place, size in enumerate(('mini', 'base', 'large', 'huge')):
        name = name.replace(f'vit-{size}', f'vit-{place}')
    return [(int(p), '') if p.isdigit() else (0, p) for p in re.split(r'(\d+)', name)]


def _what(leaf: Path) -> str:
    """The first line of a docstring, without who inherits the config."""
    text = ast.get_docstring(ast.parse(leaf.read_text(encoding='utf-8'))) or ''
    return text.partition('\n')[0].partition(';')[0].rstrip('.')


def _values(leaf: Path, names: Sequence[str]) -> Lines:
    config = Config.fromfile(leaf) if names else {}
    return [f'{node_at(config, VALUES[name]):g}' for name in names]


# --- tables of weights ----------------------------------------------------------------------------


def overview(page: Path) -> Lines:
    """All weights, a table for each folder of configs."""
    lines: Lines = []
    for title, folder in (
        ('Pre-trained', 'pretrain'),
        ('Pre-trained on plain pixels', 'ablations'),
        ('Fine-tuned on ImageNet-1k', 'finetune'),
    ):
        lines += [f'### {title}', '', *_figures(folder), '']
    return lines[:-1]


def files(page: Path) -> Lines:
    """The weights of the configs of one folder."""
    head = ['name', 'config', 'file', 'checksum', 'licence', 'note']
    rows = [
        [f'`{e.name}`', f'`{e.config.stem}`', _link(e), _checksum(e), e.license, _note(e)]
        for e in _of(page.parent.name)
    ]
    return _table(head, rows)


def _of(folder: str) -> Iterator[Entry]:
    return (entry for entry in all_entries() if entry.config.parent.name == folder)


def _figures(folder: str) -> Lines:
    trained = folder == 'finetune'
    results = ['top-1'] if trained else ['fine-tuned', 'linear probe']
    head = ['name', 'epochs', 'parameters', 'FLOPs', 'FLOPs, training', *results]
    rows = []
    for e in _of(folder):
        values = [_metric(e, TOP1)] if trained else [_tuned(e), _metric(e, LINEAR)]
        cost = [f'{e.parameters / 1e6:.1f} M', f'{e.flops / 1e9:.1f} G']
        cost += [f'{e.training_flops / 1e9:.1f} G']
        rows.append([f'`{e.name}`', _epochs(e), *cost, *values, e.source, e.license, _note(e)])
    return _table([*head, 'source', 'licence', 'note'], rows)


def _table(head: Lines, rows: list[Lines]) -> Lines:
    lines = [head, ['---'] * len(head), *rows]
    return [f'| {" | ".join(line)} |' for line in lines]


def _link(entry: Entry) -> str:
    return f'[{entry.file}]({entry.url})'


def _checksum(entry: Entry) -> str:
    return entry.checksum or 'none published'


def _epochs(entry: Entry) -> str:
    return str(entry.epochs or 'not stated')


def _tuned(entry: Entry) -> str:
    if own := _metric(entry, TOP1):
        return own
    at_448 = _metric(entry, TUNED_448)
    return _metric(entry, TUNED) + (f', {at_448} at 448' if at_448 else '')


def _metric(entry: Entry, name: str) -> str:
    return ', '.join(str(number.value) for number in numbers_of(entry, name))


def _note(entry: Entry) -> str:
    holds = ['encoder only'] if entry.holds == 'encoder' else []
    return '; '.join([*holds, entry.note] if entry.note else holds)


# --- tables of other homes ------------------------------------------------------------------------


def flags(job: str) -> Write:
    """The flags of a script of the authors; `mae config import` goes by the same rows."""
    rows = FLAG_ROWS[job]
    head = ['flag', 'default', 'here']
    return lambda page: _table(head, [[o, _default(r), h] for o, r, h in _counterparts(rows)])


def keys(*rows: Counterpart) -> Write:
    """The keys of mmselfsup and mmpretrain, likewise."""
    return lambda page: _table(['key', 'here'], [[o, h] for o, _, h in _counterparts(rows)])


def needless(page: Path) -> Lines:
    """Sections that nothing here is stated in place of."""
    merged: dict[str, Lines] = {}
    for key, why in NEEDLESS.items():
        merged.setdefault(why, []).append(f'`{key}`')
    return _table(['key', 'here'], [[', '.join(names), why] for why, names in merged.items()])


def _counterparts(rows: Sequence[Counterpart]) -> Iterator[tuple[str, Counterpart, str]]:
    """Names, the first row of these, and what is here; names of the same reason are one row."""
    merged: dict[str, list[Counterpart]] = {}
    for row in rows:
        here = ', '.join(filter(None, [f'`{row.new}`' if row.new else '', row.why]))
        merged.setdefault(here if not row.new else f'{here}|{row.old}', []).append(row)
    for here, same in merged.items():
        yield ', '.join(f'`{row.old}`' for row in same), same[0], here.partition('|')[0]


def _default(row: Counterpart) -> str:
    is_switch = row.default is False
    return '' if row.default is UNSTATED else 'off' if is_switch else f'`{row.default}`'


# --- pages ----------------------------------------------------------------------------------------


def figures_of(table: Callable[[], figures.Table]) -> Write:
    """A table of `docs/figures.py`."""
    return lambda page: _table(*table())


# The writer of each block. A block that a page lacks is not missed.
BLOCKS: dict[str, dict[str, Write]] = {
    'README.md': {'measured': figures_of(figures.measured)},
    'docs/en/user_guides/small_data.md': {'measured': figures_of(figures.by_labels)},
    'docs/en/model_zoo.md': {'zoo': overview},
    'docs/en/user_guides/reproduce.md': {'published': by_size},
    'docs/en/advanced_guides/changed_maths.md': {'decoder-depth': decoder_depth},
    'docs/en/coming_from/authors.md': {
        'main-pretrain': flags('pretrain'),
        'main-finetune': flags('ft'),
        'main-linprobe': flags('linear'),
    },
    'docs/en/coming_from/openmmlab.md': {
        'pretrain-keys': keys(*MODEL_ROWS['pretrain']),
        'classifier-keys': keys(*MODEL_ROWS['ft']),
        'run-keys': keys(*RUN_ROWS),
        'needless': needless,
    },
    'configs/finetune/README.md': {
        'whole': results(
            lambda p: p.job == 'ft' and p.variant is None and p.percent == 100, tuple(VALUES)
        ),
        'partial': results(lambda p: p.job == 'ft' and p.variant is not None),
        'few-labels': results(lambda p: p.percent < 100),
        'scratch': results(lambda p: p.job == 'scratch', ['drop path']),
        'zoo': files,
    },
    'configs/robustness/README.md': {
        'paper': by_set,
        'corruptions': results(lambda p: p.data == 'in-c'),
        'others': results(lambda p: p.data != 'in-c'),
    },
    'configs/transfer/README.md': {'paper': by_set, 'results': results()},
}
# The blocks of a folder of configs that is not named above.
FOLDER: dict[str, Write] = {'results': results(), 'zoo': files}


def pages() -> dict[str, dict[str, Write]]:
    """All pages with blocks, by their path in the repository."""
    readmes = (str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('README.md'))
    return dict.fromkeys(sorted(readmes), FOLDER) | BLOCKS


def rewrite(name: str, text: str) -> str:
    """A page with its blocks renewed.

    Raises:
        ValueError: one marker without the other, a block twice, or one that the page cannot have.
    """
    blocks, found = pages()[name], [match[1] for match in BLOCK.finditer(text)]
    # The end of a block that another script writes is not ours to judge.
    marked = [begin or end for begin, end in MARKER.findall(text) if begin or end in blocks]
    if sorted(marked) != sorted(2 * list(set(found) & set(blocks))):
        raise ValueError(
            f'{name} must hold each of its blocks once, between <!-- NAME: written by docs/zoo.py '
            f'--> and <!-- /NAME -->; it may have {", ".join(blocks)}'
        )

    def renew(match: re.Match[str]) -> str:
        begin, *_, end = match[0].splitlines()
        return '\n'.join([begin, *blocks[match[1]](ROOT / name), end])

    return BLOCK.sub(renew, text)


def cost_of(config: str) -> str:
    """What the entry of a config's weights has to say of its cost."""
    import torch

    from mae.apis import load_config
    from mae.registry import MODELS
    from mae.zoo.cost import measure_cost

    with torch.device('meta'):
        cost = measure_cost(MODELS.build(load_config(config).model))
    return (
        f'Parameters: {cost.parameters}\nFLOPs: {cost.flops}\nTraining FLOPs: {cost.training_flops}'
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Renew all pages, or print the figures of the configs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'configs', nargs='*', metavar='CONFIG', help='print parameters and FLOPs, write nothing'
    )
    configs = parser.parse_args(argv).configs
    renewed = {}
    try:
        for config in configs:
            print(cost_of(config))
        for name in () if configs else pages():
            renewed[name] = rewrite(name, (ROOT / name).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        sys.exit(f'error: {explain(error)}')
    for name, text in renewed.items():  # all of them, or none
        (ROOT / name).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
