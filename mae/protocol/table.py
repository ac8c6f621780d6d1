"""Results of a plan as one dict, read from what the runs have left."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, product
from statistics import fmean, stdev
from typing import Any

from mae.protocol.identity import sha256_of
from mae.protocol.plan import Plan
from mae.protocol.presets import Stage
from mae.protocol.stages import config_of
from mae.protocol.task import Task
from mae.utils.hardware import cpu_name, gpu_name, software

Table = dict[str, Any]
Row = Mapping[str, Any]


def table_of(plan: Plan, command: str) -> Table:
    """The content of protocol.json: metrics in percent, times in seconds as in a result.json.

    Args:
        plan: after `execute`.
        command: the command line that started it.
    """
    rows = [row_of(stage, plan) for stage in plan.stages]
    once = {row['key']: row for row in rows}.values()
    pretrain = _pretrain(plan)
    spent = [*once, *([pretrain] if 'seconds' in pretrain else [])]
    return {
        'command': command,
        'arch': plan.preset.name,
        'pretrain': pretrain,
        'rows': rows,
        'order': order_of(rows),
        **_cost(spent),
        'device': 'GPU' if plan.settings.gpus else 'CPU core',
        'devices': plan.settings.gpus or plan.settings.cores,
        'machine': gpu_name() if plan.settings.gpus else cpu_name(),
        'versions': software(),
    }


def order_of(rows: Sequence[Row]) -> list[str]:
    """Orders that the paper's results suggest, and whether they hold here."""
    tuned = [row for row in rows if row['protocol'] == 'finetune']
    partial = [row for row in rows if row['protocol'] == 'partial']
    scratch = [row for row in rows if row['protocol'] == 'scratch']
    claims = {
        'more blocks trained, better (paper figure 9)': pairwise(partial),
        'more labels, better': pairwise(tuned),
        'pre-trained better than from scratch (paper table 3)': [
            (low, high)
            for low, high in product(scratch, tuned)
            if (low['share'] or 1.0) == (high['share'] or 1.0)
        ],
    }
    pairs = {claim: list(found) for claim, found in claims.items()}
    return [_remark(claim, found) for claim, found in pairs.items() if found]


def _remark(claim: str, pairs: Sequence[tuple[Row, Row]]) -> str:
    """Whether the second of each pair is no worse than the first."""
    breaches = [
        f'{high["title"]} ({high["mean"]:.1f}) is below {low["title"]} ({low["mean"]:.1f})'
        + _against_spread(low['mean'] - high['mean'], low['std'], high['std'])
        for low, high in pairs
        if high['mean'] < low['mean']
    ]
    return f'{claim}: ' + (f'no; {"; ".join(breaches)}' if breaches else 'yes')


def _against_spread(difference: float, *deviations: float | None) -> str:
    known = [deviation for deviation in deviations if deviation is not None]
    if not known:
        return ''
    return f', {"within" if difference <= max(known) else "beyond"} the spread of the seeds'


def row_of(stage: Stage, plan: Plan, metric: str | None = None) -> Table:
    """Results of a stage: of each seed, their mean and deviation, at the best rate of a grid.

    Args:
        plan: after `execute`.
        metric: one of the stage's; None for the first.
    """
    metric = metric or stage.metrics[0]
    trials = [plan.tasks_of(trial) for trial in stage.trials]
    spreads = [_spread(tasks, metric) for tasks in trials]
    best = max(range(len(trials)), key=lambda i: _rank(spreads[i]))
    done = [_result(task) for tasks in trials for task in tasks]
    return {
        'key': stage.key,
        'title': stage.title,
        'protocol': stage.protocol,
        'config': stage.config,
        'share': stage.share,
        **spreads[best],
        **(_grid(stage, spreads, best) if stage.base_lrs else {}),
        'epochs': trials[best][0].epochs,  # 0 if it trains nothing
        **_cost(done),
        'commands': [result['command'] for result in done],
    }


def _result(task: Task) -> Table:
    result = task.result
    assert result is not None, 'every task has been run'
    return result


def _spread(tasks: Sequence[Task], metric: str) -> Table:
    """The metric of each seed, their mean and, of several, their standard deviation."""
    found = [float(_result(task)['metrics'][metric]) for task in tasks]
    return {metric: found, 'mean': fmean(found), 'std': stdev(found) if len(found) > 1 else None}


def _rank(spread: Row) -> tuple[float, float]:
    """The highest mean over the seeds is best; of equal ones, the one with less deviation.

    Near the rate at which training diverges one seed can be the best of all and the next one
    fail, so a single seed must not choose.
    """
    return round(spread['mean'], 6), -(spread['std'] or 0.0)


def _grid(stage: Stage, spreads: Sequence[Row], best: int) -> Table:
    """The learning rate that counts, and the results of all."""
    scale = config_of(stage).global_batch_size / 256
    rates = stage.base_lrs
    return {
        'base_lr': rates[best],
        'lr': rates[best] * scale,
        # Then a wider grid might hold a better rate.
        'is_best_at_edge': rates[best] in (min(rates), max(rates)),
        'grid': [
            {'base_lr': rate, 'lr': rate * scale, **spread}
            for rate, spread in zip(rates, spreads, strict=True)
        ],
    }


def _pretrain(plan: Plan) -> Table:
    """Where the weights came from."""
    if not any(stage.is_pretrained for stage in plan.stages):
        return {}
    weights = plan.weights()
    found: Table = {'checkpoint': str(weights), 'sha256': sha256_of(weights)}
    if plan.pretrain is not None:
        result = plan.pretrain.result
        assert result is not None, 'it has been run'
        found |= {
            'config': plan.pretrain.args[0],
            'loss': result['metrics']['loss'],
            **_cost([result]),
            'commands': [result['command']],
        }
    return found


def _cost(results: Iterable[Mapping[str, Any]]) -> Table:
    """Sums of the times; None where one of them is not known."""
    found = list(results)
    keys = ('seconds', 'cpu_seconds', 'device_seconds')
    times = {key: [result.get(key) for result in found] for key in keys}
    return {key: None if None in each else sum(each) for key, each in times.items()}
