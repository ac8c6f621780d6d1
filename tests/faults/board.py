"""The scoreboard: a row a scene, on the disk after every trial."""

import json
import threading
from dataclasses import asdict

from mae.utils.compat import versions
from mae.utils.files import write_json


class Scoreboard:
    """`scoreboard.json`.

    Args:
        path: of it.
        seed: of the trials.
        keep: the rows of an earlier call with this seed.
    """

    def __init__(self, path, seed, *, keep=False):
        self.path = path
        self._lock = threading.Lock()
        self.content = {'seed': seed, 'versions': versions(), 'line': '', 'rows': {}}
        if path.is_file():
            found = json.loads(path.read_text())
            if keep and found['seed'] == seed:
                self.content['rows'] = found['rows']

    def clear(self, scene):
        """Forget the trials of a scene."""
        self.content['rows'].pop(scene.name, None)

    def left(self, scene, numbers):
        """The trials that have not passed yet."""
        trials = self.content['rows'].get(scene.name, {}).get('trials', {})
        return [n for n in numbers if not _has_passed(trials.get(str(n)))]

    def add(self, scene, number, outcome, seconds):
        """Write down a trial, and its row anew."""
        with self._lock:
            row = self.content['rows'].setdefault(scene.name, {'trials': {}})
            trials = row['trials']
            trials[str(number)] = {**asdict(outcome), 'seconds': round(seconds, 2)}
            row |= {
                'name': scene.name,
                'what': scene.what,
                'goal': scene.goal,
                'passed': sum(t['passed'] for t in trials.values()),
                'tried': sum(t['tried'] for t in trials.values()),
                'seconds': round(sum(t['seconds'] for t in trials.values()), 1),
                **scene.sum_up([t['facts'] for t in trials.values()]),
                'trials': row.pop('trials'),  # the longest part last
            }
            self.content['line'] = self.line()
            write_json(self.path, self.content)

    def failures(self):
        """(row, trial number, trial) of all that did not pass."""
        return [
            (row, number, trial)
            for row in self.content['rows'].values()
            for number, trial in row['trials'].items()
            if not _has_passed(trial)
        ]

    def line(self):
        """All rows in one line, for the docs."""
        rows = self.content['rows'].values()
        return ', '.join(f'{row["name"]} {row["passed"]}/{row["tried"]}' for row in rows)


def _has_passed(trial):
    return trial is not None and trial['passed'] == trial['tried'] > 0
