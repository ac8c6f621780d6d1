"""What a run leaves for its report: scalars, pictures by step, and facts about it.

All of it lies in `<work dir>/<start>/vis_data`, so that the page can be made again at any time.
"""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image

from mae.utils.errors import DataError
from mae.utils.files import whole_file, write_json
from mae.visualization.panels import Pixels, cut
from mae.visualization.runs.logs import (
    SCALARS,
    TIMES,
    Scalars,
    find_scalars,
    is_training,
    read_scalars,
    with_steps,
)

FACTS = 'report.json'
PICTURES = 'reconstructions'
PREDICTIONS = 'predictions.json'  # of a segmenter or detector
_ORIGINALS = ('original', 'masked')  # the same after each epoch
_FILLED_IN = ('filled in',)
_TWO_WAYS = ('filled in, by itself', 'with true means')


@dataclass(frozen=True)
class RunFacts:
    """What stands in no log.

    Attributes:
        title: name of the run.
        kind: what it learns, such as 'MAE': only runs of one kind can be compared.
        seed: None if unknown.
        max_steps: length of the run, in optimizer steps; 0 if unknown.
        steps_per_epoch: 0 if unknown.
        images_per_step: over all processes; 0 if unknown.
        devices: such as '1 x CPU'.
        parent: config that the run's inherits; '' if there is none.
        differences: key, value in the parent and value in the run.
        versions: of libraries, by name.
        commands: what to do with the run, and the command for it.
        sample: what the pictures and features are of; '' if there are none.
        notes: what the report lacks, and why.
        num_pictures: rows of the pictures.
        has_two_ways: whether the pictures show the reconstruction with true means too.
    """

    title: str
    kind: str
    seed: int | None = None
    max_steps: int = 0
    steps_per_epoch: int = 0
    images_per_step: int = 0
    devices: str = ''
    parent: str = ''
    differences: Sequence[Sequence[str]] = ()
    versions: Sequence[Sequence[str]] = ()
    commands: Sequence[Sequence[str]] = ()
    sample: str = ''
    notes: Sequence[str] = ()
    num_pictures: int = 0
    has_two_ways: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the pictures in a row."""
        return (*_ORIGINALS, *(_TWO_WAYS if self.has_two_ways else _FILLED_IN))


@dataclass(frozen=True)
class RunRecord:
    """A run as its report shows it.

    Attributes:
        facts: about it.
        records: scalars with their steps, ascending.
        pictures: step, and file of a plain sheet.
        checkpoint: path of the newest one, or a word in its place.
    """

    facts: RunFacts
    records: Sequence[tuple[int, Scalars]]
    pictures: Sequence[tuple[int, Path]] = ()
    checkpoint: str = 'CHECKPOINT'

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return self.records[-1][0]

    def values(self, key: str) -> list[tuple[int, float]]:
        """Step and value wherever it was logged; times of training alone."""
        found = self.training() if key in TIMES else self.records
        return [(step, float(record[key])) for step, record in found if key in record]

    def training(self) -> list[tuple[int, Scalars]]:
        """The records of training steps."""
        return [(step, record) for step, record in self.records if is_training(record)]

    def metrics(self) -> list[str]:
        """Names of what validations have logged."""
        found = dict.fromkeys(k for _, r in self.records if not is_training(r) for k in r)
        return [key for key in found if key not in (*TIMES, 'step', 'num_samples')]

    def images_per_second(self) -> float | None:
        """Of the latest lines, loading included; None if unknown."""
        times = [value for _, value in self.values('time')][-20:]
        size = self.facts.images_per_step
        return size * len(times) / sum(times) if size and times and sum(times) > 0 else None

    def rows(self, sheet: Path) -> list[list[Pixels]]:
        """Pictures of a sheet, by row and column.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            with Image.open(sheet) as image:
                pixels = np.asarray(image)
        except (OSError, SyntaxError) as error:  # Pillow's of a broken PNG
            raise DataError(f'{sheet} cannot be read ({error}): remove it') from error
        return cut(pixels, self.facts.num_pictures, len(self.facts.columns))


def write_facts(folder: Path, facts: RunFacts) -> None:
    """Keep the facts of a run in its `vis_data`.

    Raises:
        OSError: the disk refused.
    """
    write_json(folder / FACTS, asdict(facts), flush=False)


def read_facts(folder: Path) -> RunFacts | None:
    """The facts of a run; None if no hook has left them, or they are not ours."""
    try:
        found = json.loads((folder / FACTS).read_bytes())
        known = {field.name for field in fields(RunFacts)}
        facts = RunFacts(**{key: value for key, value in found.items() if key in known})
        return facts if _are_ours(facts) else None
    except (AttributeError, OSError, TypeError, ValueError):
        return None


def _are_ours(facts: RunFacts) -> bool:
    """Whether the values are of their types."""
    numbers = (facts.max_steps, facts.steps_per_epoch, facts.images_per_step, facts.num_pictures)
    words = (facts.title, facts.kind, facts.devices, facts.parent, facts.sample)
    tables = (facts.differences, facts.versions, facts.commands, facts.notes)
    return (
        all(isinstance(number, int) for number in numbers)
        and all(isinstance(word, str) for word in words)
        and all(isinstance(rows, list | tuple) for rows in tables)
    )


def picture_path(folder: Path, step: int) -> Path:
    """File of the pictures of a step, in a `vis_data`."""
    return folder / PICTURES / f'{step}.png'


def copy_pictures(folder: Path, target: Path, step: int) -> None:
    """Copy the pictures up to a step from one `vis_data` to another, predictions among them.

    Raises:
        OSError: a file cannot be read or written.
    """
    for sheet in folder.glob(f'{PICTURES}/*.png'):
        if sheet.stem.isdecimal() and int(sheet.stem) <= step:
            with whole_file(picture_path(target, int(sheet.stem)), flush=False) as file:
                file.write(sheet.read_bytes())
    predictions = folder / PREDICTIONS
    if predictions.is_file() and _step_of(predictions) <= step:
        with whole_file(target / PREDICTIONS, flush=False) as file:
            file.write(predictions.read_bytes())


def _step_of(predictions: Path) -> float:
    """Step of the validation; infinite where the file is damaged."""
    with suppress(LookupError, OverflowError, TypeError, ValueError):
        return int(json.loads(predictions.read_bytes())['step'])
    return math.inf


def read_record(folder: Path, facts: RunFacts) -> RunRecord:
    """The record in a `vis_data`.

    Raises:
        OSError: the scalars cannot be read.
        ValueError: they are not JSON, or there are none.
    """
    return record_of(folder, facts, read_steps(folder))


def read_steps(folder: Path) -> list[tuple[int, Scalars]]:
    """The scalars in a `vis_data`, each record with its step, ascending.

    Raises:
        OSError: they cannot be read.
        ValueError: they are not JSON.
    """
    return with_steps(read_scalars(folder / SCALARS))


def record_of(folder: Path, facts: RunFacts, records: Sequence[tuple[int, Scalars]]) -> RunRecord:
    """The record of a run whose scalars have been read.

    Args:
        folder: its `vis_data`.
        facts: about it.
        records: of `read_steps`.

    Raises:
        ValueError: no training step among them.
    """
    if not any(is_training(record) for _, record in records):
        raise ValueError(f'{folder / SCALARS}: no training step has been logged yet')
    sheets = [(int(p.stem), p) for p in folder.glob(f'{PICTURES}/*.png') if p.stem.isdecimal()]
    last = records[-1][0]  # a run that has gone back has left pictures of later steps
    return RunRecord(
        facts,
        records,
        sorted(each for each in sheets if each[0] <= last),
        str(_newest(folder.parents[1], '*.pth') or 'CHECKPOINT'),
    )


def _newest(folder: Path, pattern: str) -> Path | None:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)


def find_vis_data(work_dir: Path) -> Path | None:
    """The newest `vis_data` with scalars in a work dir, or None."""
    found = find_scalars(work_dir)
    return None if found is None else found.parent
