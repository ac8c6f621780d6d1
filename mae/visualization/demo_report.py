"""The report of `make demo`: every number in it comes from its summary or its logs."""

from collections.abc import Mapping, Sequence
from typing import Any

from mae.visualization.clock import clock
from mae.visualization.curves import Series, line_chart
from mae.visualization.logs import Record, with_key
from mae.visualization.panels import Panel
from mae.visualization.report import (
    charts,
    columns,
    commands,
    page,
    paragraph,
    pictures,
    section,
    table,
    tiles,
)


def demo_report(
    summary: Mapping[str, Any],
    logs: Mapping[str, Sequence[Record]],
    panels: Sequence[Panel],
    digits: Sequence[int],
) -> str:
    """The page as HTML.

    Args:
        summary: what `tools/demo.py` writes to summary.json.
        logs: records of the runs 'pretrain', 'finetune' and 'scratch' (the last two of one seed).
        panels: reconstructions of images the model has not seen in training.
        digits: what they show.
    """
    return page(
        'A masked autoencoder on handwritten digits',
        paragraph(_lead(summary), 'lead'),
        _tiles(summary),
        section('What it fills in', *_pictures(summary, panels, digits)),
        section('Pre-training', charts(*_pretrain_charts(logs['pretrain']))),
        section('Classification', *_classification(summary, logs)),
        section('Commands', *_commands(summary)),
        section('Time and versions', *_circumstances(summary)),
    )


def _lead(summary: Mapping[str, Any]) -> str:
    setup, tuned, scratch = summary['setup'], summary['finetune'], summary['scratch']
    return (
        f'A small vision transformer looked at {setup["train_images"]:,} digits without labels, '
        f'{_share(setup)} of each hidden, and learned to fill in the rest. Fine-tuned '
        f'on {setup["labels"]} labels it then names {tuned["mean"]:.1f} % of '
        f'{setup["val_images"]} new digits rightly; the same network trained from scratch on '
        f'those labels, {scratch["mean"]:.1f} %.'
    )


def _tiles(summary: Mapping[str, Any]) -> str:
    pretrain, tuned, scratch = summary['pretrain'], summary['finetune'], summary['scratch']
    return tiles(
        [
            ('fine-tuned, mean top-1', f'{tuned["mean"]:.1f} %'),
            ('from scratch, mean top-1', f'{scratch["mean"]:.1f} %'),
            ('k-NN, top-1', f'{summary["knn"]["top1"]:.1f} %'),
            ('loss, first to last', f'{pretrain["loss_first"]:.3f} → {pretrain["loss_last"]:.3f}'),
            ('images per second', f'{pretrain["images_per_second"]:,.0f}'),
            ('whole demo', clock(summary['seconds']['total'])),
        ]
    )


def _pictures(
    summary: Mapping[str, Any], panels: Sequence[Panel], digits: Sequence[int]
) -> list[str]:
    return [
        pictures(panels, [f'digit {digit}' for digit in digits]),
        paragraph(
            f'The first {len(panels)} validation images, which pre-training never saw. '
            f'{_share(summary["setup"])} of the patches are hidden; in the reconstruction the '
            'visible ones are pasted in as they were.',
            'note',
        ),
    ]


def _pretrain_charts(records: Sequence[Record]) -> list[str]:
    loss, rate = _series('', records, 'loss'), _series('', records, 'lr')
    return [
        line_chart([loss], title='Pre-training loss', x_label='epoch', y_label='loss'),
        line_chart([rate], title='Learning rate', x_label='epoch', y_label='learning rate'),
    ]


def _classification(summary: Mapping[str, Any], logs: Mapping[str, Sequence[Record]]) -> list[str]:
    setup, tuned, scratch = summary['setup'], summary['finetune'], summary['scratch']
    seeds = [f'seed {seed}' for seed in setup['seeds']]
    results = [
        ('fine-tuned', *map(_percent, tuned['top1']), _percent(tuned['mean'])),
        ('from scratch', *map(_percent, scratch['top1']), _percent(scratch['mean'])),
    ]
    grid = [(f'{t["base_lr"]:g}', f'{t["lr"]:.3g}', _percent(t['top1'])) for t in scratch['grid']]
    names = {'finetune': 'fine-tuned', 'scratch': 'from scratch'}
    lines = {key: (name, logs[key]) for key, name in names.items()}
    return [
        table(('top-1, %', *seeds, 'mean'), results),
        paragraph(
            f'k-NN on the frozen features of the pre-trained encoder, all '
            f'{setup["train_images"]:,} training labels as the bank: '
            f'{summary["knn"]["top1"]:.1f} %. The two rows above train on {setup["labels"]} '
            f'labels, another choice of images for each seed, for {setup["finetune_epochs"]} '
            'epochs with the same augmentation.'
        ),
        charts(
            line_chart(
                [_series(name, records, 'loss') for name, records in lines.values()],
                title=f'Training loss on {setup["labels"]} labels, seed {setup["seeds"][0]}',
                x_label='epoch',
                y_label='loss',
            ),
            line_chart(
                [_series(name, records, 'base_lr') for name, records in lines.values()],
                title='Learning rate of the last layer',
                x_label='epoch',
                y_label='learning rate',
            ),
        ),
        table(('from scratch: base_lr', 'learning rate', 'top-1, %'), grid),
        paragraph(_fairness(summary), 'note'),
    ]


def _fairness(summary: Mapping[str, Any]) -> str:
    scratch, seed = summary['scratch'], summary['setup']['seeds'][0]
    rates = [trial['base_lr'] for trial in scratch['grid']]
    text = (
        f'The learning rate from scratch is the best of this grid by the validation top-1 of '
        f'seed {seed}. Choosing by the images that also give the result favours the baseline; '
        'fine-tuning uses the one rate its config states.'
    )
    if scratch['base_lr'] in (min(rates), max(rates)):
        text += ' The best one lies at the edge of the grid: a wider grid might raise it.'
    return text


def _commands(summary: Mapping[str, Any]) -> list[str]:
    return [
        paragraph('From the root of the repository, with the environment of make demo active:'),
        commands(['export CUDA_VISIBLE_DEVICES=  # the CPU does it all', *summary['commands']]),
    ]


def _circumstances(summary: Mapping[str, Any]) -> list[str]:
    seconds, setup = summary['seconds'], summary['setup']
    parts = [(name, clock(value)) for name, value in seconds.items()]
    return [
        columns(
            table(('part', 'min:s'), parts),
            table(('software', 'version'), list(summary['versions'].items())),
        ),
        paragraph(
            f'On {setup["cores"]} core(s) of {setup["cpu"]}. Fine-tuning and training from scratch '
            f'take one core a run and go {setup["cores"]} at a time, so the parts add up to more '
            'than the total.',
            'note',
        ),
    ]


def _series(name: str, records: Sequence[Record], key: str) -> Series:
    found = [record for record in with_key(records, key) if 'epoch' in record]
    return Series(name, [r['epoch'] for r in found], [r[key] for r in found])


def _share(setup: Mapping[str, Any]) -> str:
    return f'{100 * setup["mask_ratio"]:.0f} %'


def _percent(value: float) -> str:
    return f'{value:.1f}'
