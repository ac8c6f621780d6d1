"""Writes the tables of weights from the metafiles, or counts: `python docs/zoo.py [CONFIG]`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from mae.zoo.index import Entry, read_index

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = '<!-- zoo: written by docs/zoo.py -->', '<!-- /zoo -->'

LINEAR, TUNED = 'Linear probe Top 1 Accuracy', 'Fine-tune Top 1 Accuracy'
TUNED_448, TOP1 = 'Fine-tune 448 Top 1 Accuracy', 'Top 1 Accuracy'

Rows = list[list[str]]


def all_entries() -> tuple[Entry, ...]:
    """Those of the checkout, whatever is installed."""
    return read_index(ROOT / 'model-index.yml')


def overview(page: Path) -> str:
    """All weights, a table for each folder of configs."""
    parts = []
    for title, folder in (
        ('Pre-trained', 'pretrain'),
        ('Pre-trained on plain pixels', 'ablations'),
        ('Fine-tuned on ImageNet-1k', 'finetune'),
    ):
        parts += [f'### {title}', '', *_figures(folder, page), '']
    return '\n'.join(parts).rstrip()


def files(page: Path) -> str:
    """The weights of the configs of one folder."""
    head = ['name', 'config', 'file', 'checksum', 'licence', 'note']
    rows = [
        [f'`{e.name}`', f'`{e.config.stem}`', _link(e), _checksum(e), e.license, _note(e)]
        for e in _of(page.parent.name)
    ]
    return '\n'.join(_table(head, rows))


def short(page: Path) -> str:
    """Names and results."""
    head = ['name', 'epochs', 'fine-tuned', 'linear probe', 'source', 'licence']
    rows = [
        [f'`{e.name}`', _epochs(e), _tuned(e), _metric(e, LINEAR), e.source, e.license]
        for e in all_entries()
        if e.metrics
    ]
    return '\n'.join(_table(head, rows))


# What is written between the markers of a page. One without markers is left alone.
PAGES: dict[str, Callable[[Path], str]] = {
    'docs/en/model_zoo.md': overview,
    'configs/pretrain/README.md': files,
    'configs/pretrain/ablations/README.md': files,
    'configs/finetune/README.md': files,
}


def rewrite(name: str, text: str) -> str:
    """A page with what is between its markers renewed.

    Raises:
        ValueError: one marker without the other, or one twice.
    """
    counts = text.count(BEGIN), text.count(END)
    if counts == (0, 0):
        return text
    if counts != (1, 1):
        raise ValueError(f'{name} must hold {BEGIN!r} and {END!r} once each')
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f'{before}{BEGIN}\n{PAGES[name](ROOT / name)}\n{END}{after}'


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


def main() -> None:
    """Renew all pages, or print the figures of the configs that are named."""
    for config in sys.argv[1:]:
        print(cost_of(config))
    for name in PAGES if len(sys.argv) == 1 else ():
        path = ROOT / name
        path.write_text(rewrite(name, path.read_text(encoding='utf-8')), encoding='utf-8')


def _of(folder: str) -> Iterator[Entry]:
    return (entry for entry in all_entries() if entry.config.parent.name == folder)


def _figures(folder: str, page: Path) -> list[str]:
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


def _table(head: list[str], rows: Rows) -> list[str]:
    lines = [head, ['---'] * len(head), *rows]
    return [f'| {" | ".join(line)} |' for line in lines]


def _link(entry: Entry) -> str:
    return f'[{entry.file}]({entry.url})'


def _checksum(entry: Entry) -> str:
    return entry.checksum or 'none published'


def _epochs(entry: Entry) -> str:
    return str(entry.epochs or 'not stated')


def _tuned(entry: Entry) -> str:
    if TOP1 in entry.metrics:
        return _metric(entry, TOP1)
    at_448 = f', {entry.metrics[TUNED_448]} at 448' if TUNED_448 in entry.metrics else ''
    return _metric(entry, TUNED) + at_448


def _metric(entry: Entry, name: str) -> str:
    return str(entry.metrics.get(name, ''))


def _note(entry: Entry) -> str:
    holds = ['encoder only'] if entry.holds == 'encoder' else []
    return '; '.join([*holds, entry.note] if entry.note else holds)


if __name__ == '__main__':
    main()
