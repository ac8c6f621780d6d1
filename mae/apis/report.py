"""Pages about runs, made from what lies in their work dirs: of one run, or of several together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mae.config.diff import ABSENT, config_differences
from mae.config.dumped import read_dumped
from mae.config.files import shipped_configs
from mae.config.lineage import Differences, differences_from, is_of_a_start, short
from mae.utils.errors import ConfigError, DataError
from mae.utils.files import make_folder, write_text
from mae.visualization.clock import this_moment
from mae.visualization.dense_report import DenseResult, dense_report, read_result
from mae.visualization.runs.comparison import MOST_GROUPS, RunGroup, run_comparison
from mae.visualization.runs.facts import commands_of, kind_of, seed_of
from mae.visualization.runs.logs import (
    SCALARS,
    Scalars,
    is_training,
    read_scalars,
    with_steps,
)
from mae.visualization.runs.page import run_report
from mae.visualization.runs.record import (
    RunFacts,
    RunRecord,
    find_vis_data,
    read_facts,
    record_of,
)

_PAGE = 'report.html'


@dataclass(frozen=True)
class _Run:
    """A run, and the config that it ran with."""

    work_dir: Path
    config: Mapping[str, Any]
    record: RunRecord
    result: DenseResult | None  # of a segmenter or detector


def report_runs(runs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write the page of a run, or one that compares several.

    Runs that differ in the seed alone are averaged, with error bars.

    Args:
        runs: work dirs, also of runs that are still training or had no `RunReportHook`.
        out: the page; by default `report.html` in the work dir of a single run, and
            `comparison.html` in the current folder of several.

    Returns:
        Where it is.

    Raises:
        ConfigError: the runs cannot be compared, or are too many.
        DataError: a folder holds no run that has logged something.
        OSError: the page cannot be written.
    """
    if not runs:
        raise ConfigError('a report needs the work dir of at least one run')
    found = [_read(Path(run)) for run in runs]
    if len(found) == 1:
        path = Path(out or found[0].work_dir / _PAGE)
        text = _page(found[0])
    else:
        path = Path(out or 'comparison.html')
        text = _comparison(found)
    make_folder(path.parent)
    write_text(path, text)
    return path


def _page(run: _Run) -> str:
    if run.result is None:
        return run_report(run.record, this_moment())
    return dense_report(run.result, run.record.records, run.record)


def _read(work_dir: Path) -> _Run:
    if not work_dir.is_dir():
        what = 'is a file' if work_dir.exists() else 'does not exist'
        raise DataError(f'{work_dir} {what}: give the work dir of a run')
    folder = find_vis_data(work_dir)
    if folder is None:
        raise DataError(
            f'{work_dir} holds no <start>/vis_data/scalars.json: give the work dir of a run that '
            'has logged something'
        )
    config = read_dumped(folder / 'config.py') if (folder / 'config.py').is_file() else {}
    try:
        scalars = read_scalars(folder / SCALARS)
        facts = read_facts(folder) or _facts_of(work_dir, config, scalars)
        file = work_dir / f'{facts.title}.py'
        commands = commands_of(config, file, work_dir) if file.is_file() else []
        record = record_of(folder, replace(facts, commands=commands), with_steps(scalars))
    except ValueError as error:
        raise DataError(f'{work_dir}: {error}') from error
    return _Run(work_dir, config, record, read_result(folder))


def _facts_of(work_dir: Path, config: Mapping[str, Any], scalars: Sequence[Scalars]) -> RunFacts:
    """What can be found out about a run that had no hook."""
    state = _state_of(work_dir)
    left = [path.stem for path in work_dir.glob('*.py')]
    title = left[0] if len(left) == 1 else work_dir.resolve().name
    steps = _steps_per_epoch(scalars)
    epochs = (config.get('train_cfg') or {}).get('max_epochs') or 0
    parent = next((path for path in shipped_configs() if path.stem == title), None)
    differences: Differences = differences_from(parent, config) if parent and config else []
    return RunFacts(
        title=title,
        kind=kind_of(config),
        seed=seed_of(config),
        max_steps=state.get('max_steps') or steps * epochs,
        steps_per_epoch=steps,
        images_per_step=config.get('global_batch_size') or 0,
        parent=parent.stem if parent and config else '',
        differences=differences,
        versions=list((state.get('versions') or {}).items()),
        notes=['it trained without RunReportHook: no pictures, no features'],
    )


def _state_of(work_dir: Path) -> dict[str, Any]:
    try:
        found = json.loads((work_dir / 'run.json').read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _steps_per_epoch(scalars: Sequence[Scalars]) -> int:
    """Where the second epoch begins, which every log shows; 0 without one."""
    records = [record for record in scalars if is_training(record)]
    first = [int(r['iter']) for r in records if r.get('epoch') == 1]
    return max(first) if first and any(r.get('epoch') == 2 for r in records) else 0


def _comparison(runs: Sequence[_Run]) -> str:
    kinds = {run.record.facts.kind: run.work_dir for run in reversed(runs)}
    if len(kinds) > 1:
        each = ', '.join(f'{place} trains a {kind}' for kind, place in kinds.items())
        raise ConfigError(f'runs of different kinds cannot be compared: {each}')
    groups: list[list[_Run]] = []
    for run in runs:
        same = next((g for g in groups if run.config and _differ_in_seed(g[0], run)), None)
        if same is None:
            groups.append([run])
        else:
            same.append(run)
    if len(groups) > MOST_GROUPS:
        raise ConfigError(
            f'{len(groups)} runs that differ in more than the seed: a page compares up to '
            f'{MOST_GROUPS}'
        )
    named = [RunGroup(_name(group), [run.record for run in group]) for group in groups]
    return run_comparison(named, _differences([group[0].config for group in groups]))


def _differ_in_seed(one: _Run, other: _Run) -> bool:
    """Whether two configs differ in seeds, and in nothing else that matters."""
    keys = {
        difference.key.rpartition('.')[2]
        for difference in config_differences(one.config, other.config)
        if not is_of_a_start(difference.key)
    }
    return keys == {'seed'}


def _name(runs: Sequence[_Run]) -> str:
    more = f' and {len(runs) - 1} more' if len(runs) > 1 else ''
    return f'{runs[0].work_dir}{more}'


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Key and value in each config, wherever one differs from the first."""
    columns = [
        {one.key: one for one in config_differences(configs[0], config)} for config in configs
    ]
    keys = dict.fromkeys(key for column in columns for key in column if not is_of_a_start(key))
    rows = []
    for key in keys:
        first = next(column[key].first for column in columns if key in column)
        values = [column[key].second if key in column else first for column in columns]
        rows.append([key, *('' if value is ABSENT else short(value) for value in values)])
    return rows
