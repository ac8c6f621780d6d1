"""Curves of what runs have logged."""

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

from mae.utils.errors import ConfigError, DataError
from mae.utils.suggest import did_you_mean
from mae.visualization.curves import line_chart
from mae.visualization.figures import Drawing
from mae.visualization.runs.log_table import curve_of, split_records
from mae.visualization.runs.logs import Scalars, find_scalars, read_scalars


def draw_log(runs: str | Path | Sequence[str | Path], key: str = 'loss') -> Drawing:
    """One scalar of one or several runs over their steps, a curve each.

    Args:
        runs: work dirs, or `scalars.json` files.
        key: name of the scalar, such as 'loss', 'lr' or 'top1'.

    Raises:
        ConfigError: no run is given, or none has logged such a scalar.
        DataError: a run has no log, or an empty one.
    """
    places = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if not places:
        raise ConfigError('a curve needs at least one run: give its work dir')
    return log_chart(places, [read_log(place) for place in places], key)


def log_chart(places: Sequence[Path], logs: Sequence[Sequence[Scalars]], key: str) -> Drawing:
    """The chart of `draw_log` from logs that have been read.

    Args:
        places: of the runs, by which their curves are named.
        logs: of each run, from `read_log`.
        key: name of the scalar.

    Raises:
        ConfigError: none of the runs has logged such a scalar.
    """
    known = {name for log in logs for record in log for name in record}
    if not isinstance(key, str):
        raise ConfigError(f'key is the name of a scalar, such as loss, not {key!r}')
    if key not in known:
        raise ConfigError(f'nothing was logged as {key}{did_you_mean(key, known)}')
    names = [place.name for place in places]
    if not all(names) or len({*names}) < len(names):
        names = [str(place) for place in places]
    curves = []
    for log, name in zip(logs, names, strict=True):
        training, evaluation = split_records(log)
        records = sorted([*training, *evaluation], key=itemgetter(0))
        curves.append(curve_of(records, key, name))
    svg = line_chart(curves, title=key, x_label='step', y_label=key)
    return Drawing(key, svg, ', '.join(map(str, places)))


def read_log(run: Path) -> list[Scalars]:
    """The records of a run, given by its work dir or its `scalars.json`.

    Raises:
        DataError: there is no log, or an empty one.
    """
    path: Path | None = run if run.is_file() else find_scalars(run)
    if path is None:
        raise DataError(f'{run} is no work dir of a run: it has no TIME/vis_data/scalars.json')
    records = read_scalars(path)
    if not records:
        raise DataError(f'{path} has no line yet')
    return records
