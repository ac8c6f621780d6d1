"""The page of a run, while it trains and afterwards."""

import math
import re
import shlex
from collections.abc import Sequence

from mae.utils.ratio import evenly_spaced
from mae.visualization.clock import clock_with_unit
from mae.visualization.curves import Series, line_chart, smoothed, thinned
from mae.visualization.report import (
    charts,
    columns,
    commands,
    flipbook,
    page,
    paragraph,
    scaled,
    section,
    table,
    tiles,
)
from mae.visualization.runs.record import RunRecord
from mae.visualization.style import MOST_FRAMES

# Names of what is logged, for people; what is not here is shown by its own name.
LABELS = {
    'loss': 'training loss',
    'lr': 'learning rate',
    'grad_norm': 'gradient norm',
    'reconstruction_error': 'validation loss',
    'top1': 'top-1, %',
    'top5': 'top-5, %',
    'miou': 'mean IoU, %',
    'box_ap': 'box AP, %',
    'mask_ap': 'mask AP, %',
    'knn/top1': 'k-NN top-1, %',
    'features/knn': 'k-NN top-1, %',
    'features/rankme': 'RankMe',
}
_TRAINING = ('loss', 'lr', 'grad_norm')
_FEATURES = ('features/knn', 'features/rankme')
_NOISY = ('loss', 'grad_norm')
_MOST_CHARTS = 8  # of metrics: of more, as of a class each, those with a label
_LOSSES = ('loss', 'grad_norm', 'reconstruction_error')  # which span powers of ten


def run_report(run: RunRecord, now: str) -> str:
    """The page as HTML.

    Args:
        now: time at which it is made, in words.
    """
    facts = run.facts
    drawn = (*_TRAINING, *drawn_metrics(_metrics(run)))
    return page(
        facts.title,
        paragraph(_lead(run, now), 'lead'),
        tiles(_tiles(run)),
        section('Learning curves', charts(*_charts(run, drawn))),
        *_table_of_metrics(run),
        *_reconstructions(run),
        *_features(run),
        *training_sections(run),
    )


def training_sections(run: RunRecord) -> list[str]:
    """What the page of any run ends with: speed, config, commands, versions."""
    return [
        section('Speed and memory', charts(*_speed(run)), paragraph(_waiting(run), 'note')),
        section('Config', *_config(run)),
        *_commands(run),
        section(
            'Versions',
            columns(
                table(('library', 'version'), run.facts.versions),
                table(('', ''), _about(run), 'wrapped'),
            ),
        ),
    ]


def learning_curves(run: RunRecord) -> str:
    """Training loss, learning rate and gradient norm, as a section."""
    return section('Learning curves', charts(*_charts(run, _TRAINING)))


def _metrics(run: RunRecord) -> list[str]:
    return [key for key in run.metrics() if key not in _FEATURES]


def drawn_metrics(keys: Sequence[str]) -> list[str]:
    """Those of a run's metrics that have a chart."""
    return [key for key in keys if len(keys) <= _MOST_CHARTS or key in LABELS]


def _table_of_metrics(run: RunRecord) -> list[str]:
    """The last values of all metrics, where they do not all have a chart."""
    keys = _metrics(run)
    if len(drawn_metrics(keys)) == len(keys):
        return []
    rows = [(LABELS.get(key, key), f'{run.values(key)[-1][1]:.4g}') for key in keys]
    return [section('Metrics', table(('metric', 'last value'), rows))]


def _lead(run: RunRecord, now: str) -> str:
    facts, step = run.facts, run.step
    done = f'step {step:,}' + (f' of {facts.max_steps:,}' if facts.max_steps else '')
    if facts.steps_per_epoch:
        done += f', epoch {step / facts.steps_per_epoch:.4g}'
    if facts.max_steps and step >= facts.max_steps:
        return f'{facts.kind}, finished after {facts.max_steps:,} steps; {now}.'
    left = _seconds_left(run)
    return f'{facts.kind}, {done}{f", {clock_with_unit(left)} left" if left else ""}; {now}.'


def _seconds_left(run: RunRecord) -> float:
    times = [value for _, value in run.values('time')][-5:]
    left = max(run.facts.max_steps - run.step, 0)
    return left * sum(times) / len(times) if times else 0.0


def _tiles(run: RunRecord) -> list[tuple[str, str]]:
    found = []
    if losses := run.values('loss'):
        found.append(('loss, first to last', f'{losses[0][1]:.3g} → {losses[-1][1]:.3g}'))
    for key in [key for key in run.metrics() if key in LABELS]:
        found.append((LABELS[key], f'{run.values(key)[-1][1]:.4g}'))
    if (speed := run.images_per_second()) is not None:
        found.append(('images per second', f'{speed:,.0f}'))
    if memory := run.values('memory'):
        found.append(('GPU memory, MiB', f'{max(value for _, value in memory):,.0f}'))
    if left := _seconds_left(run):
        found.append(('time left', clock_with_unit(left)))
    return found


def _by_epoch(run: RunRecord, points: Sequence[tuple[int, float]]) -> Series:
    """Values of steps, by epoch, or by step where its length is unknown."""
    per = run.facts.steps_per_epoch or 1
    return Series('', [step / per for step, _ in points], [value for _, value in points])


def _x_label(run: RunRecord) -> str:
    return 'epoch' if run.facts.steps_per_epoch else 'step'


def _charts(run: RunRecord, keys: Sequence[str]) -> list[str]:
    return [
        curve([_by_epoch(run, run.values(key))], key, _x_label(run), is_smoothed=key in _NOISY)
        for key in keys
        if any(map(math.isfinite, (value for _, value in run.values(key))))
    ]


def curve(series: Sequence[Series], key: str, x_label: str, *, is_smoothed: bool = False) -> str:
    """A chart of one value; of a loss also with a logarithmic axis."""
    label = LABELS.get(key, key)
    lines = []
    for i, one in enumerate(series):
        thin = thinned(Series(one.name, one.x, one.y, colour=i)) if not one.spread else one
        lines += smoothed(thin) if is_smoothed and not one.spread else [thin]
    is_loss = key in _LOSSES and any(value > 0 for one in series for value in one.y)
    both = [
        line_chart(lines, title=label, x_label=x_label, y_label=label, tips=True, log=log)
        for log in ((False, True) if is_loss else (False,))
    ]
    return scaled(both[0], both[1], key) if is_loss else both[0]


def _reconstructions(run: RunRecord) -> list[str]:
    facts = run.facts
    shown = [run.pictures[i] for i in evenly_spaced(len(run.pictures), MOST_FRAMES)]
    if not shown or not facts.num_pictures:
        return []
    sheets = [(step, run.rows(path)) for step, path in shown]
    per = facts.steps_per_epoch
    names = [f'epoch {step / per:.4g}' if per else f'step {step}' for step, _ in sheets]
    frames = [(n, [row[2:] for row in rows]) for n, (_, rows) in zip(names, sheets, strict=True)]
    text = f'{facts.num_pictures} of {facts.sample}, with the same masks each time. '
    if facts.has_two_ways:
        text += (
            'The model predicts each hidden patch without its mean and deviation. '
            '"By itself" takes the average ones of the visible patches, which uses nothing that '
            'was hidden; "with true means" takes those of the hidden patch, as the authors\' '
            'pictures do, and flatters.'
        )
    fixed = [row[:2] for row in sheets[-1][1]]
    book = flipbook(facts.columns, fixed, frames)
    return [section('What it fills in', book, paragraph(text.strip(), 'note'))]


def _features(run: RunRecord) -> list[str]:
    drawn = _charts(run, _FEATURES)
    if not drawn:
        return []
    text = (
        f'Of {run.facts.sample}, the same each time. RankMe (Garrido et al. 2023) is the effective '
        'rank of the features, from 1 (all point one way) to the smaller of their width and '
        'number; it needs no labels. '
    )
    if run.values('features/knn'):
        text += (
            'k-NN classifies every second image of the sample by the others: a trend on few '
            'images, not a result.'
        )
    return [section('Features', charts(*drawn), paragraph(text.strip(), 'note'))]


def _speed(run: RunRecord) -> list[str]:
    size = run.facts.images_per_step
    timed = [(step, r) for step, r in run.training() if r.get('time', 0) > 0]
    charts = {
        'images per second' if size else 'seconds per step': [
            (step, size / r['time'] if size else r['time']) for step, r in timed
        ],
        'waiting for data, %': [
            (step, 100 * r['data_time'] / r['time']) for step, r in timed if 'data_time' in r
        ],
        'GPU memory, MiB': run.values('memory'),
    }
    return [_plain(run, points, label) for label, points in charts.items() if points]


def _plain(run: RunRecord, points: Sequence[tuple[int, float]], label: str) -> str:
    line = thinned(_by_epoch(run, points))
    return line_chart([line], title=label, x_label=_x_label(run), y_label=label, tips=True)


def _waiting(run: RunRecord) -> str:
    times = [value for _, value in run.values('time')]
    waits = [value for _, value in run.values('data_time')]
    if not waits or sum(times) <= 0:
        return ''
    return (
        f'Over the run, {100 * sum(waits) / sum(times):.2g} % of the time of a step is waiting for '
        'images.'
    )


def _config(run: RunRecord) -> list[str]:
    facts = run.facts
    if not facts.parent:
        return [paragraph('No config is known that this one inherits as a whole.')]
    if not facts.differences:
        return [paragraph(f'Every value is that of {facts.parent}.')]
    return [
        paragraph(f'Values that differ from {facts.parent}:'),
        table(('key', facts.parent, 'this run'), facts.differences, 'wrapped'),
    ]


def _commands(run: RunRecord) -> list[str]:
    lines, checkpoint = [], shlex.quote(run.checkpoint)
    for text, line in run.facts.commands:
        words = re.sub(r'(?<= )CHECKPOINT(?= |$)', lambda _: checkpoint, line)
        lines += [paragraph(text), commands(words)]
    return [section('Commands', *lines)] if lines else []


def _about(run: RunRecord) -> list[tuple[str, str]]:
    facts = run.facts
    found = [('seed', '' if facts.seed is None else str(facts.seed)), ('devices', facts.devices)]
    found += [('images per step', f'{facts.images_per_step:,}' if facts.images_per_step else '')]
    return [(name, value) for name, value in found if value] + [('note', n) for n in facts.notes]
