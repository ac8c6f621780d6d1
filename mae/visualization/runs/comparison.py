"""One page about several runs: their curves together, averaged where they differ in the seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from mae.visualization.curves import Series, thinned
from mae.visualization.report import charts, legend, page, paragraph, section, table
from mae.visualization.runs.page import LABELS, curve, drawn_metrics
from mae.visualization.runs.record import RunRecord

MOST_GROUPS = 6  # for which there are colours
_AVERAGED = (
    'Runs whose configs differ in the seed alone are averaged, at the steps that all of them have '
    'logged; ± and the bars are the standard deviation between the seeds.'
)
_TRAINING = ('loss', 'lr', 'grad_norm')


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in the seed alone, or one run.

    Attributes:
        name: of its folder, or what the names of the folders have in common.
        runs: at least one.
    """

    name: str
    runs: Sequence[RunRecord]

    def series(self, key: str, label: str, *, by_epoch: bool) -> Series:
        """The mean over the runs, at the steps that all of them have logged, with its deviation."""
        found = [dict(run.values(key)) for run in self.runs]
        steps = [step for step in found[0] if all(step in values for values in found)]
        per = self.runs[0].facts.steps_per_epoch if by_epoch else 1
        columns = [[values[step] for values in found] for step in steps]
        spread = [_deviation(column) for column in columns] if len(found) > 1 else []
        x, y = [step / per for step in steps], [_mean(column) for column in columns]
        return Series(label, x, y, spread) if spread else thinned(Series(label, x, y))

    def last(self, key: str) -> str:
        """The last value that all runs have, with its deviation; '' without one."""
        line = self.series(key, '', by_epoch=False)
        if not line.y:
            return ''
        return f'{line.y[-1]:.4g}' + (f' ± {line.spread[-1]:.2g}' if line.spread else '')

    def speed(self) -> str:
        """Images per second, the mean over the runs; '' if unknown."""
        found = [speed for run in self.runs if (speed := run.images_per_second()) is not None]
        return f'{mean(found):,.0f}' if found else ''


def run_comparison(groups: Sequence[RunGroup], differences: Sequence[Sequence[str]]) -> str:
    """The page as HTML.

    Args:
        groups: at most `MOST_GROUPS`, of runs of one kind.
        differences: key, and its value in each group.
    """
    letters = [chr(ord('A') + i) for i in range(len(groups))]
    keys = [
        key
        for key in dict.fromkeys([*_TRAINING, *(k for g in groups for k in g.runs[0].metrics())])
        if any(math.isfinite(v) for g in groups for v in g.series(key, '', by_epoch=False).y)
    ]
    by_epoch = all(run.facts.steps_per_epoch for group in groups for run in group.runs)
    x_label = 'epoch' if by_epoch else 'step'
    metrics = drawn_metrics([key for key in keys if key not in _TRAINING])
    drawn = []
    for key in [key for key in keys if key in (*_TRAINING, *metrics)]:
        lines = [
            group.series(key, letter, by_epoch=by_epoch)
            for letter, group in zip(letters, groups, strict=True)
        ]
        drawn.append(curve(lines, key, x_label))
    rows = [
        (LABELS.get(key, key), *(group.last(key) for group in groups))
        for key in keys
        if key != 'lr'
    ]
    rows.append(('images per second', *(group.speed() for group in groups)))
    return page(
        f'{sum(len(g.runs) for g in groups)} runs of a {groups[0].runs[0].facts.kind} compared',
        _legend(letters, groups),
        *([paragraph(_AVERAGED, 'note')] if any(len(g.runs) > 1 for g in groups) else []),
        section('Last values', table(('', *letters), rows)),
        section('Curves', charts(*drawn)),
        section('Config', *_config(letters, differences)),
    )


def _legend(letters: Sequence[str], groups: Sequence[RunGroup]) -> str:
    entries = []
    for i, (letter, group) in enumerate(zip(letters, groups, strict=True)):
        seeds = [str(run.facts.seed) for run in group.runs]
        of = f'mean of seeds {", ".join(seeds)}' if len(seeds) > 1 else f'seed {seeds[0]}'
        entries.append((f'{letter}: {group.name}, {of}', f'var(--series-{i})'))
    return legend(entries)


def _config(letters: Sequence[str], differences: Sequence[Sequence[str]]) -> list[str]:
    if not differences:
        return [paragraph('No value of the configs differs.')]
    return [table(('key', *letters), differences, 'wrapped')]


def _mean(values: Sequence[float]) -> float:
    return mean(values) if all(map(math.isfinite, values)) else math.nan


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if all(map(math.isfinite, values)) else math.nan
