"""Figures measured here, read where they stand: in a table of a note or a file of the benchmark.

A figure stands once, in the note that gives its command and machine. Other pages show it in a block
that `python docs/zoo.py` writes.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTES = ROOT / 'docs/en/notes'

Row = list[str]
Table = tuple[Row, list[Row]]


def find_cell(note: str, row: str, column: str) -> str:
    """The cell of the first table of a note that has such a row and column, without bold type.

    Args:
        note: name of its file, without `.md`.

    Raises:
        ValueError: no table has both.
    """
    path = NOTES / f'{note}.md'
    for head, rows in _tables(path.read_text(encoding='utf-8')):
        if column not in head:
            continue
        for cells in rows:
            if cells[0] == row:
                return cells[head.index(column)].replace('**', '')
    raise ValueError(f'{path}: no table with a row "{row}" and a column "{column}"')


def _tables(text: str) -> Iterator[Table]:
    for lines in re.findall(r'(?:^\|.*\|\n)+', text, re.MULTILINE):
        cells = [[cell.strip() for cell in line[1:-1].split('|')] for line in lines.splitlines()]
        yield cells[0], cells[2:]


def find_speeds(file: str, *names: str) -> list[str]:
    """Images a second of some systems that a file of the benchmark compares, three digits each.

    Raises:
        ValueError: it is no such file, or compares others.
    """
    path = NOTES / 'benchmarks' / file
    try:
        systems = json.loads(path.read_text(encoding='utf-8'))['systems']
        return [_three_digits(systems[name]['images_per_second']) for name in names]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: no speeds of {", ".join(names)}') from error


def _three_digits(value: float) -> str:
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f'{value:,.{decimals}f}'


# Rows of the demo's note by those of the protocols'. Columns of the protocols'.
LONGER = 'from scratch, three times the epochs'
STARTS = {
    'fine-tuned': '`finetune.top1` (three seeds), mean ± std',
    'from scratch, as many epochs': '`scratch.top1`, mean ± std',
    LONGER: '`longer.top1`, mean ± std',
}
SHARES = {'1 %, 600 labels': '600', '10 %, 6,000': '6,000', '100 %, 60,000': '60,000'}
CROPS = '10 %, 400 labels'


def measured() -> Table:
    """The table of the README."""
    seconds = find_cell('demo', '`seconds.total`', 'figure').split()[-1]
    knn = find_cell('demo', '`knn.top1`', 'figure')
    tuned, scratch, longer = (_demo(start) for start in STARTS)
    garments = {row: ', '.join(_protocol(row)) for row in STARTS}
    killed, killed2, theirs = (_trials(row) for row in ('kill', 'kill2', 'mmengine-kill'))
    step = find_speeds('step_zen5.json', 'mae', 'mmpretrain', 'transformers', 'lightly')
    loader = find_speeds('loader_zen5.json', 'mae', 'torchvision', 'mmpretrain')
    starts = ('fine-tuned', 'from scratch')
    segmented, detected = (
        [find_cell('dense_demo', f'{metric}, 100 scenes', start) for start in starts]
        for metric in ('mIoU', 'box AP')
    )
    rows = [
        (
            f'`make demo`, {seconds} s on 2 cores of an AMD EPYC: 100 labels, mean and deviation '
            'of three seeds',
            'demo',
            f'k-NN {knn} %, fine-tuned {tuned} %; from scratch {scratch} %, '
            f'for three times the epochs (`--longer`) {longer} %',
        ),
        (
            'the whole protocol on Fashion-MNIST, top-1 with 1, 10, 100 % of the labels, '
            'three seeds',
            'protocol_fashion',
            f'fine-tuned {garments["fine-tuned"]} %; '
            f'from scratch for three times the epochs {garments[LONGER]} %',
        ),
        (
            '`make faults`: killed at a random moment and resumed, the same weights as undisturbed',
            'faults',
            f"{killed}; with two processes {killed2}; mmengine's runner {theirs}",
        ),
        (
            'ViT-B/16 pre-training step on 2 cores of an AMD EPYC, bf16, images/s',
            'benchmarks',
            '{}; mmpretrain {}, transformers {}, lightly {}'.format(*step),
        ),
        (
            'input, one worker on the same machine, images/s',
            'benchmarks',
            '{}; torchvision with Pillow {}, mmpretrain {}'.format(*loader),
        ),
        (
            'segmentation and detection in scenes of digits, 100 labelled: mean and deviation of '
            'three seeds',
            'dense_demo',
            f'fine-tuned {segmented[0]} mIoU, {detected[0]} box AP; '
            f'from scratch {segmented[1]}, {detected[1]}',
        ),
    ]
    shown = [[f'{what} ([more](docs/en/notes/{note}.md))', told] for what, note, told in rows]
    missing = 'on a GPU: throughput and memory; on ImageNet-1k: accuracy'
    shown.append([missing, '[not measured yet](docs/en/notes/benchmarks.md)'])
    return ['what', 'figures'], shown


def by_labels() -> Table:
    """What pre-training gives, by the number of labels."""
    digits = ['handwritten digits, 16 pixels', '1,437 images, 170 epochs', '100']
    garments = ['Fashion-MNIST, 28 pixels', '60,000 images, 20 epochs']
    rows = [[*digits, *map(_demo, STARTS)]]
    for labels, *found in zip(SHARES.values(), *map(_protocol, STARTS), strict=True):
        rows.append([*garments, labels, *found])
        garments = ['', '']
    crops = [find_cell('photo_crops', start, CROPS) for start in STARTS]
    rows.append(['crops of 40 photographs, 32 pixels', '4,000 images, 40 epochs', '400', *crops])
    head = ['data', 'pre-training', 'labels', 'fine-tuned', 'from scratch']
    return [*head, 'from scratch, three times as long'], rows


def _demo(start: str) -> str:
    """The mean over the demo's seeds, which stands behind the single ones."""
    return find_cell('demo', STARTS[start], 'figure').rpartition('; ')[2]


def _protocol(start: str) -> Row:
    """The means of the protocol on Fashion-MNIST, one for each number of labels."""
    return [find_cell('protocol_fashion', start, share) for share in SHARES]


def _trials(row: str) -> str:
    """How many trials of how many passed, without what is said of them."""
    return find_cell('faults', f'`{row}`', 'figure').partition(' (')[0]
