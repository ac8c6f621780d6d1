"""The scoreboard: a row a scene, on the disk after every trial."""

import json
import threading
from dataclasses import asdict

from mae.utils.files import write_json
from mae.utils.versions import versions

BASELINE = 'mmengine-'


class Scoreboard:
    """`scoreboard.json`.

    Args:
        path: of it.
        seed: of the trials.
        order: names of the rows.
        keep: the rows of an earlier call with this seed.
    """

    def __init__(self, path, seed, order, *, keep=False):
        self.path = path
        self._order = {name: place for place, name in enumerate(order)}
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
            trials = self.content['rows'].get(scene.name, {}).get('trials', {})
            trials[str(number)] = {**asdict(outcome), 'seconds': round(seconds, 2)}
            passed, tried = (sum(t[k] for t in trials.values()) for k in ('passed', 'tried'))
            self.content['rows'][scene.name] = {
                'name': scene.name,
                'what': scene.what,
                'passed': passed,
                'tried': tried,
                'goal': f'{scene.share:.0%}',
                'reached': passed >= scene.share * tried > 0,
                'seconds': round(sum(t['seconds'] for t in trials.values()), 1),
                **scene.sum_up([t['facts'] for t in trials.values()]),
                'trials': trials,  # the longest part last
            }
            rows = self.content['rows'].items()
            in_order = sorted(rows, key=lambda item: self._order.get(item[0], len(self._order)))
            self.content['rows'] = dict(in_order)
            self.content['line'] = self.line()
            write_json(self.path, self.content)

    def missed(self, names):
        """Those of some rows that did not reach their goal."""
        rows = self.content['rows']
        return [name for name in names if name in rows and not rows[name]['reached']]

    def line(self):
        """All rows in one line, for the docs; mmengine's figures behind ours."""
        rows = self.content['rows']
        texts = []
        for name, row in rows.items():
            if name.startswith(BASELINE):
                continue
            peer = rows.get(f'{BASELINE}{name}')
            row['mmengine'] = f'{peer["passed"]}/{peer["tried"]}' if peer else None
            text = f'{name} {row["passed"]}/{row["tried"]}'
            texts.append(f'{text} (mmengine {row["mmengine"]})' if peer else text)
        return ', '.join(texts)


def _has_passed(trial):
    return trial is not None and trial['passed'] == trial['tried'] > 0
