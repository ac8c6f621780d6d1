"""What groups of folders cost: a tree as ImageNet-C's beside the same files as one plain list."""

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from PIL import Image

from mae.apis import init_model
from mae.benchmark import OURS
from mae.benchmark.measure import alternate, clock_of
from mae.benchmark.report import Report, build_report, throughput
from mae.benchmark.settings import Settings
from mae.datasets.catalogue import CORRUPTION_ARCHIVES
from mae.engine.data_loaders import build_data_loader
from mae.evaluation.evaluator import Evaluator
from mae.registry import METRICS

_CLASSES = [f'n{number:08d}' for number in range(20)]
_METRICS = {'ImageNetC': {'type': 'CorruptionError'}, 'ImageFolder': {'type': 'Accuracy'}}
_WARMUP = 2


def run(
    settings: Settings,
    peers: Sequence[str],
    *,
    rounds: int = 30,
    steps: int = 26,
    command: str = '',
) -> Report:
    """Evaluate a classifier on both, a few batches of one after a few of the other, in CPU time.

    Args:
        settings: config of a test, and batch.
        peers: 'ImageFolder' or nothing.
        rounds: figures for each.
        steps: batches of a round; the tree gets as many images as all rounds need.
        command: the command line, for the report.

    Raises:
        ValueError: the config tests no classifier of image files.
    """
    config = settings.config
    if config.model['type'] != 'Classifier' or not config.get('test_dataloader'):
        raise ValueError(f'--config {settings.name} tests no classifier; give one that does')
    torch.set_num_threads(1)  # the cost is Python's
    wanted = (rounds * steps + _WARMUP) * settings.batch_size
    with tempfile.TemporaryDirectory() as folder:
        images = write_tree(Path(folder, 'tree'), wanted, config.model.encoder.img_size)
        sources = _sources(folder)
        tests = {name: RunningTest(settings, sources[name]) for name in (OURS, *peers)}
        clocks = {name: clock_of(test, cpu_time=True) for name, test in tests.items()}
        timings = alternate(clocks, rounds=rounds, steps=steps, warmup=_WARMUP)
        systems = {
            name: throughput(timings[name], settings.batch_size) | {'check': test.top1()}
            for name, test in tests.items()
        }
    return build_report(
        'groups',
        systems,
        **settings.facts,
        command=command,
        images=images,
        steps_per_round=steps,
    )


def write_tree(root: Path, least: int, size: int) -> int:
    """Write `<archive>/<corruption>/<severity>/<class>/*.JPEG` and their list, `root`.txt.

    All images of a class are links to one file.

    Args:
        root: folder of the tree.
        least: number of images, rounded up to as many for each folder.
        size: side of the images, pixels.

    Returns:
        The number of images.
    """
    draw = torch.Generator().manual_seed(0)
    places = [
        f'{archive}/{kind}/{severity}'
        for archive, kinds in CORRUPTION_ARCHIVES.items()
        for kind in kinds
        for severity in range(1, 6)
    ]
    each = -(-least // (len(places) * len(_CLASSES)))
    originals = []
    for name in _CLASSES:
        pixels = torch.randint(256, (size, size, 3), dtype=torch.uint8, generator=draw)
        originals.append(root.with_name(f'{name}.JPEG'))
        Image.fromarray(pixels.numpy()).save(originals[-1])
    lines = []
    for place, (label, name) in itertools.product(places, enumerate(_CLASSES)):
        folder = root / place / name
        folder.mkdir(parents=True)
        for number in range(each):
            os.link(originals[label], folder / f'{number:08d}.JPEG')
            lines.append(f'{place}/{name}/{number:08d}.JPEG {label}\n')
    root.with_suffix('.txt').write_text(''.join(lines))
    return len(lines)


def _sources(folder: str) -> dict[str, dict[str, Any]]:
    """The same images in the order of ImageNet-C's groups."""
    common = {'root': f'{folder}/tree', 'classes': _CLASSES}
    plain = {'type': 'ImageFolder', **common, 'list_file': f'{folder}/tree.txt'}
    return {OURS: {'type': 'ImageNetC', **common}, 'ImageFolder': plain}


class RunningTest:
    """A test under way, which goes on by one batch at each call."""

    def __init__(self, settings: Settings, source: dict[str, Any]) -> None:
        config = Config(settings.config.to_dict())
        config.model.head.num_classes = len(_CLASSES)
        config.test_dataloader.dataset.source = source
        options = {'batch_size': settings.batch_size, 'num_workers': 0, 'pin_memory': False}
        loader = build_data_loader({**config.test_dataloader, **options}, settings.seed)
        torch.manual_seed(settings.seed)
        self._model = init_model(config)
        metric = _METRICS[source['type']]
        self._evaluator = Evaluator(METRICS.build(metric))
        dataset: Any = loader.dataset
        self._evaluator.dataset_meta = dataset.metainfo
        self._batches: Iterator[Any] = iter(loader)
        self._count = 0

    @torch.inference_mode()
    def __call__(self) -> None:
        """Read a batch, classify and count it, as the test loop does between its hooks."""
        batch = next(self._batches)
        outputs = self._model.test_step(batch)
        self._evaluator.process(data_samples=outputs, data_batch=batch)
        self._count += len(batch['ids'])

    @torch.inference_mode()
    def top1(self) -> float:
        """Top-1 so far, in percent: that of the same images must be equal."""
        return float(self._evaluator.evaluate(self._count)['top1'])
