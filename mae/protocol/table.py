"""What the runs of a protocol came to, as one dict: nothing in it is stated, all is read."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from mae.protocol.identity import sha256_of
from mae.protocol.plan import Plan
from mae.protocol.stages import Stage
from mae.protocol.task import Task
from mae.utils.hardware import cpu_name, gpu_name, software

Table = dict[str, Any]
Row = Mapping[str, Any]


def table_of(plan: Plan, command: str) -> Table:
    """The content of protocol.json: top-1 in percent, times in seconds.

    Args:
        plan: executed.
        command: that began it.
    """
    rows = [
        _row(stage, [plan.task(stage, s) for s in plan.seeds_of(stage)]) for stage in plan.stages
    ]
    once = {row['key']: row for row in rows}.values()
    pretrain = _pretrain(plan)
    spent = [*once, *([pretrain] if 'seconds' in pretrain else [])]
    return {
        'command': command,
        'arch': plan.arch,
        'pretrain': pretrain,
        'rows': rows,
        'order': order_of(rows),
        'seconds': sum(row['seconds'] for row in spent),
        'device_seconds': sum(row['device_seconds'] for row in spent),
        'device': 'GPU' if plan.settings.gpus else 'CPU core',
        'devices': plan.settings.gpus or plan.settings.cores,
        'machine': gpu_name() if plan.settings.gpus else cpu_name(),
        'versions': software(),
    }


def order_of(rows: Sequence[Row]) -> list[str]:
    """What the paper leads one to expect of the order, and whether it came so."""
    groups = {
        'more blocks trained, better (paper figure 9)': [
            row for row in rows if row['protocol'] == 'partial'
        ],
        'more labels, better': [row for row in rows if row['protocol'] == 'finetune'],
        'pre-trained better than from scratch (paper table 3)': [
            *(row for row in rows if row['protocol'] == 'scratch'),
            *[row for row in rows if row['protocol'] == 'finetune'][-1:],
        ],
    }
    return [_remark(claim, group) for claim, group in groups.items() if len(group) > 1]


def _remark(claim: str, rows: Sequence[Row]) -> str:
    breaches = [
        f'{high["title"]} ({high["mean"]:.1f}) is below {low["title"]} ({low["mean"]:.1f})'
        + _against_spread(low['mean'] - high['mean'], low['std'], high['std'])
        for low, high in pairwise(rows)
        if high['mean'] < low['mean']
    ]
    return f'{claim}: ' + (f'no; {"; ".join(breaches)}' if breaches else 'yes')


def _against_spread(difference: float, *deviations: float | None) -> str:
    known = [deviation for deviation in deviations if deviation is not None]
    if not known:
        return ''
    return f', {"within" if difference <= max(known) else "beyond"} the spread of the seeds'


def _row(stage: Stage, tasks: Sequence[Task]) -> Table:
    results = [task.result for task in tasks]
    assert all(results), 'every task has been run'
    done = [result for result in results if result]
    top1 = [float(result['metrics']['top1']) for result in done]
    return {
        'key': stage.key,
        'title': stage.title,
        'protocol': stage.protocol,
        'config': stage.config,
        'top1': top1,
        'mean': fmean(top1),
        'std': stdev(top1) if len(top1) > 1 else None,
        **_cost(done),
        'commands': [result['command'] for result in done],
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


def _cost(results: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    found = list(results)
    return {key: sum(result[key] for result in found) for key in ('seconds', 'device_seconds')}
