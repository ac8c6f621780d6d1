"""All parts of an examination, in the order in which they can be measured."""

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from mae.apis.images import decoded_bits
from mae.apis.schedule_picture import config_name, learning_rates, require_training
from mae.datasets.transforms import DecodeImage
from mae.doctor.cost import examine_cost
from mae.doctor.data import examine_data
from mae.doctor.environment import Host, environment
from mae.doctor.findings import Examination, ExaminedPart, FoundFault
from mae.doctor.labels import examine_labels
from mae.doctor.learning import examine_learning
from mae.doctor.memory import base_of, examine_memory, forget_peak, peak_bytes
from mae.doctor.pace import Pace, examine_pace
from mae.doctor.schedule import examine_schedule
from mae.doctor.subject import Subject, prepare

SECONDS = 60.0  # for steps; looking at data and building take as long again at most
_LEARNING = 0.7  # of these, for the steps on one batch
_TRIAL_RUN = 0.2  # for the run itself

Told = Callable[[ExaminedPart], None]


def examine_run(
    config: Config, *, host: Host | None = None, seconds: float = SECONDS, tell: Told | None = None
) -> Examination:
    """Examine a run before it starts; nothing is written but in a temporary folder.

    Args:
        config: from `mae.apis.load_config`, with `work_dir` set; it describes a training.
        host: what the run has at hand; None takes this machine.
        seconds: for the steps of training, about.
        tell: called with each part when it is done.

    Raises:
        ConfigError: the config describes no training, or states something impossible.
        DataError: the data of a dense task cannot be read.
    """
    require_training(config)
    start = time.perf_counter()
    parts: list[ExaminedPart] = []

    def add(part: ExaminedPart) -> None:
        parts.append(part)
        if tell is not None:
            tell(part)

    with tempfile.TemporaryDirectory(prefix='mae-doctor-') as folder, _quiet():
        known = host or Host.of(config.work_dir)
        add(environment(config, known, _image_bytes(config)))
        subject = prepare(config, known, Path(folder))
        for part in _parts(subject, seconds):
            add(part)
    return Examination(config_name(config), parts, time.perf_counter() - start)


def _parts(subject: Subject, seconds: float) -> Iterator[ExaminedPart]:
    yield from _data_parts(subject)
    rates = learning_rates(subject.config, num_images=len(subject.dataset))
    yield examine_schedule(subject.config, rates, subject.model.encoder.embed_dim)
    peak_rate = max(rates.highest)
    learning = _guarded(
        'learning', lambda: examine_learning(subject, peak_rate, _LEARNING * seconds)
    )
    yield learning
    device = subject.host.device
    base, counts = base_of(subject), forget_peak(device)
    found: list[Pace] = []

    def run() -> ExaminedPart:
        part, pace = examine_pace(subject, _TRIAL_RUN * seconds)
        if pace is not None:
            found.append(pace)
        return part

    yield _guarded('pace', run)
    peak = peak_bytes(device) if counts and found else None
    yield examine_memory(subject, base, peak)
    update = float(learning.facts.get('update_seconds', 0.0))
    yield examine_cost(subject, found[0] if found else None, update, rates)


def _data_parts(subject: Subject) -> Iterator[ExaminedPart]:
    if subject.is_random or not hasattr(subject.dataset, 'source'):
        why = 'not there' if subject.is_random else 'not a SeededDataset'
        yield ExaminedPart('data', [f'not examined: {why}'], subject.findings)
        return
    config, val_dataset = subject.config, subject.val_dataset
    decode = DecodeImage(subject.model.encoder.in_channels, bits=decoded_bits(config))
    look = examine_data(subject.dataset, val_dataset, config, decode)
    findings = [*subject.findings, *look.findings]
    yield ExaminedPart(look.name, look.lines, findings, look.facts)
    classes = getattr(subject.model, 'num_classes', None)
    if config.model.type == 'Classifier' and classes:
        yield _guarded(
            'labels',
            lambda: examine_labels(subject.dataset, val_dataset, classes, decode),
        )


def _guarded(name: str, examine_part: Callable[[], ExaminedPart]) -> ExaminedPart:
    """The part, or what a run would end with there."""
    try:
        return examine_part()
    except ValueError as error:
        return ExaminedPart(name, ['not examined'], [FoundFault('run_refused', str(error))])


def _image_bytes(config: Config) -> int:
    encoder = config.model.get('encoder') or {}
    size = encoder.get('img_size', 224)
    height, width = (size, size) if isinstance(size, int) else size
    return int(height * width * encoder.get('in_channels', 3)) * _bits(config) // 8


def _bits(config: Config) -> int:
    """Of the pixels that the run trains on, 8 or 16."""
    return decoded_bits({'train_dataloader': config.train_dataloader})


@contextmanager
def _quiet() -> Iterator[None]:
    """What the run logs and warns of is not the examination's; findings say what matters."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
