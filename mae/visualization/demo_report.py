"""The report of `make demo`: every number in it comes from its summary or its logs."""

from collections.abc import Mapping, Sequence
from typing import Any

from mae.utils.text import counted
from mae.visualization.clock import clock
from mae.visualization.curves import Series, line_chart
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
from mae.visualization.runs.logs import Scalars, with_key


def demo_report(
    summary: Mapping[str, Any],
    logs: Mapping[str, Sequence[Scalars]],
    panels: Sequence[Panel],
    digits: Sequence[int],
) -> str:
    """The page as HTML.

    Args:
        summary: what `tools/demo.py` writes to summary.json.
        logs: records of the runs 'pretrain', 'finetune' and 'scratch' (the last two of one seed).
        panels: reconstructions of images the model has not seen in training.
        digits: class of each image, for the captions.
    """
    return page(
        'A masked autoencoder on handwritten digits',
        paragraph(_lead(summary), 'lead'),
        _tiles(summary),
        section('What it fills in', *_pictures(summary, panels, digits)),
        section('Pre-training', charts(*_pretrain_charts(logs['pretrain']))),
        section('Classification', *_classification(summary, logs)),
        section('Commands', *_commands(summary)),
        section('Time and versions', *_time_and_versions(summary)),
    )


def _lead(summary: Mapping[str, Any]) -> str:
    setup, tuned, scratch = summary['setup'], summary['finetune'], summary['scratch']
    margin = summary['margin']['scratch']
    difference = f'{abs(margin):.1f} points {"less" if margin > 0 else "more"}'
    return (
        f'A small vision transformer looked at {setup["train_images"]:,} digits without labels, '
        f'{_share(setup)} of each hidden, and learned to fill in the rest. Fine-tuned '
        f'on {setup["labels"]} labels it then names {tuned["mean"]:.1f} % of '
        f'{setup["val_images"]} new digits rightly; the same network trained from scratch on '
        f'those labels for as many epochs, {scratch["mean"]:.1f} %, {difference}.'
    )


def _tiles(summary: Mapping[str, Any]) -> str:
    pretrain, tuned, scratch = summary['pretrain'], summary['finetune'], summary['scratch']
    return tiles(
        [
            ('fine-tuned, mean top-1', f'{_spread(tuned)} %'),
            ('from scratch, mean top-1', f'{_spread(scratch)} %'),
            ('k-NN, top-1', f'{summary["knn"]["top1"]:.1f} %'),
            ('loss, first to last', f'{pretrain["loss_first"]:.3f} → {pretrain["loss_last"]:.3f}'),
            ('images per second', f'{pretrain["images_per_second"]:,.0f}'),
            ('whole demo', clock(summary['seconds']['total'])),
        ]
    )


def _pictures(
    summary: Mapping[str, Any], panels: Sequence[Panel], digits: Sequence[int]
) -> list[str]:
    text = (
        f'The first {len(panels)} validation images, which pre-training never saw. '
        f'{_share(summary["setup"])} of the patches are hidden; in the reconstruction the '
        f'visible ones are pasted in as they were. {panels[0].note}'
    )
    return [
        pictures(panels, [f'digit {digit}' for digit in digits]),
        paragraph(text.strip(), 'note'),
    ]


def _pretrain_charts(records: Sequence[Scalars]) -> list[str]:
    loss, rate = _series('', records, 'loss'), _series('', records, 'lr')
    return [
        line_chart([loss], title='Pre-training loss', x_label='epoch', y_label='loss'),
        line_chart([rate], title='Learning rate', x_label='epoch', y_label='learning rate'),
    ]


def _classification(summary: Mapping[str, Any], logs: Mapping[str, Sequence[Scalars]]) -> list[str]:
    setup, tuned, scratch = summary['setup'], summary['finetune'], summary['scratch']
    seeds = [f'seed {seed}' for seed in setup['seeds']]
    rows = [('fine-tuned', tuned), ('from scratch', scratch)]
    if 'longer' in summary:
        longer = summary['longer']
        rows.append((f'from scratch, {longer["epochs"]} epochs', longer))
    names = {'finetune': 'fine-tuned', 'scratch': 'from scratch'}
    lines = {key: (name, logs[key]) for key, name in names.items()}
    return [
        table(('top-1, %', *seeds, 'mean ± std'), [_results(*row) for row in rows]),
        paragraph(
            f'k-NN on the frozen features of the pre-trained encoder, all '
            f'{setup["train_images"]:,} training labels as the bank: '
            f'{summary["knn"]["top1"]:.1f} %. The rows above train on {setup["labels"]} '
            f'labels, another choice of images for each seed, for {setup["finetune_epochs"]} '
            'epochs unless stated, with the same augmentation; std is the standard deviation '
            'between the seeds.'
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
        table(('from scratch: base_lr', *seeds, 'mean ± std'), _grid_rows(scratch)),
        paragraph(_fairness(summary), 'note'),
    ]


def _results(name: str, results: Mapping[str, Any]) -> tuple[str, ...]:
    """A row: top-1 of each seed, their mean and spread."""
    return (name, *map(_percent, results['top1']), _spread(results))


def _grid_rows(scratch: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [_results(f'{trial["base_lr"]:g}', trial) for trial in scratch['grid']]


def _fairness(summary: Mapping[str, Any]) -> str:
    scratch = summary['scratch']
    text = (
        f'The learning rate from scratch ({scratch["lr"]:.3g}, base_lr {scratch["base_lr"]:g}) is '
        'the best of this grid by the mean over the seeds of the validation top-1. Choosing by '
        'the images that also give the result favours the baseline; fine-tuning uses the one '
        'rate its config states.'
    )
    text += _edge(scratch)
    if 'longer' not in summary:
        return f'{text} Longer training helps the baseline: make demo ARGS=--longer measures it.'
    longer = summary['longer']
    return (
        f'{text} Trained from scratch for {longer["epochs"]} epochs, again at the best base_lr '
        f'({longer["base_lr"]:g}), it comes to {_spread(longer)} %: pre-training still adds '
        f'{summary["margin"]["longer"]:.1f}.{_edge(longer)}'
    )


def _edge(results: Mapping[str, Any]) -> str:
    if not results['is_best_at_edge']:
        return ''
    return ' The best one lies at the edge of the grid: a wider grid might raise it.'


def _commands(summary: Mapping[str, Any]) -> list[str]:
    return [
        paragraph('From the root of the repository, with the environment of make demo active:'),
        commands('export CUDA_VISIBLE_DEVICES=  # the CPU does it all', *summary['commands']),
    ]


def _time_and_versions(summary: Mapping[str, Any]) -> list[str]:
    seconds, setup = summary['seconds'], summary['setup']
    parts = [(name, clock(value)) for name, value in seconds.items()]
    return [
        columns(
            table(('part', 'min:s'), parts),
            table(('software', 'version'), list(summary['versions'].items())),
        ),
        paragraph(
            f'On {counted(setup["cores"], "core")} of {setup["cpu"]}. Fine-tuning and training '
            f'from scratch take one core a run and go {setup["cores"]} at a time, so the parts '
            'add up to more than the total.',
            'note',
        ),
    ]


def _series(name: str, records: Sequence[Scalars], key: str) -> Series:
    found = [record for record in with_key(records, key) if 'epoch' in record]
    return Series(name, [r['epoch'] for r in found], [r[key] for r in found])


def _share(setup: Mapping[str, Any]) -> str:
    return f'{100 * setup["mask_ratio"]:.0f} %'


def _spread(results: Mapping[str, Any]) -> str:
    return f'{results["mean"]:.1f} ± {results["std"]:.1f}'


def _percent(value: float) -> str:
    return f'{value:.1f}'
