"""Settings of a config on a cluster, compared and chosen; all figures are estimates."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console
from rich.table import Table

from mae.benchmark.cluster.layouts import (
    PARALLEL,
    Memory,
    ParallelLayout,
    Saving,
    Step,
    estimate_memory,
    estimate_saving,
    estimate_step,
    micro_batches,
)
from mae.benchmark.cluster.machines import Assumptions, Cluster
from mae.benchmark.cluster.workload import RECOMPUTE, Workload
from mae.benchmark.report import Report
from mae.utils.errors import ConfigError
from mae.utils.hardware import software
from mae.utils.text import counted, readable_size

_IMAGENET = 1_281_167  # training images of ImageNet-1k
_EQUAL = 0.01  # a loss of speed that does not count
_WORTH = 0.05  # a gain of speed from which sharding is named
_WIDTH = 132  # that the table needs, also where the output is a file
_HEADINGS = (
    *('parallel', 'recompute', 'batch', 'GiB', 'step ms', 'comm ms', 'exposed', 'images/s'),
    *('cores/node', 'epochs/day', 'goodput', 'bound'),
)
ESTIMATED = 'estimated; no figure of a GPU here has been measured'


@dataclass(frozen=True)
class PlannedRun:
    """What is trained.

    Attributes:
        name: of the config.
        global_batch_size: G.
        most: images that a micro-batch may have.
        epochs: of the whole run; None where the config counts steps.
        images: of an epoch.
        has_decoder: whether the model has one.
    """

    name: str
    global_batch_size: int
    most: int
    epochs: int | None
    images: int
    has_decoder: bool

    @classmethod
    def of(
        cls, config: Config, cluster: Cluster, images: int | None = None, most: int | None = None
    ) -> 'PlannedRun':
        """What a config trains on a cluster.

        Args:
            images: of an epoch; None: those of ImageNet-1k, if the config's name says so.
            most: see `most`; None: `batch_size` of the config.

        Raises:
            ConfigError: the GPUs cannot share the global batch, or the number of images is unknown.
        """
        name = Path(config.filename or 'config').stem
        most = most or int(config.train_dataloader.batch_size)
        G = int(config.get('global_batch_size') or most * cluster.world_size)
        _require_shares(G, cluster)
        if images is None:
            if not re.search(r'_in1k(-\d+)?$', name):
                raise ConfigError(f'{name}: say with --images how many an epoch has')
            images = _IMAGENET
        epochs = config.train_cfg.get('max_epochs')
        return cls(name, G, most, epochs, images, 'decoder' in config.model)


def _require_shares(G: int, cluster: Cluster) -> None:
    """As the sampler does: all GPUs get the same number of images."""
    if G % cluster.world_size == 0:
        return
    fitting = [n for n in range(1, G // cluster.gpus + 1) if G % (n * cluster.gpus) == 0]
    below = [n for n in fitting if n < cluster.nodes][-1:]
    near = [str(n) for n in below + [n for n in fitting if n > cluster.nodes][:1]]
    cure = f'--nodes {" or ".join(near)} would' if near else 'take fewer --gpus'
    raise ConfigError(
        f'{cluster.world_size} GPUs ({cluster.nodes} x {cluster.gpus}) cannot share '
        f'global_batch_size={G} evenly; {cure}'
    )


@dataclass(frozen=True)
class Candidate:
    """A layout and what it is estimated to do."""

    layout: ParallelLayout
    memory: Memory
    step: Step
    saving: Saving
    images_per_second: float
    cores_per_node: float
    fits: bool
    bound: str


def compare_layouts(
    run: PlannedRun,
    workload: Workload,
    cluster: Cluster,
    assumed: Assumptions,
    cores: int | None = None,
) -> list[Candidate]:
    """The fastest micro-batch that fits of each way to lay out weights and to recompute.

    Args:
        cores: of a node, for decoding; None: as many as it takes.
    """
    found = []
    for parallel in PARALLEL:
        if parallel == 'hsdp' and cluster.nodes == 1:
            continue
        for recompute in RECOMPUTE:
            share = run.global_batch_size // cluster.world_size
            sizes = micro_batches(share, run.most)
            layouts = [ParallelLayout(parallel, recompute, size, share // size) for size in sizes]
            tried = [_estimate(run, workload, x, cluster, assumed, cores) for x in layouts]
            fitting = [candidate for candidate in tried if candidate.fits]
            found.append(max(fitting, key=lambda c: c.images_per_second) if fitting else tried[-1])
    return found


def _estimate(
    run: PlannedRun,
    workload: Workload,
    layout: ParallelLayout,
    cluster: Cluster,
    assumed: Assumptions,
    cores: int | None,
) -> Candidate:
    memory = estimate_memory(workload, layout, cluster)
    step = estimate_step(workload, layout, cluster, assumed)
    rate = run.global_batch_size / step.total
    needed = rate / cluster.nodes / assumed.images_per_core
    bound = 'host' if step.host > step.device else 'GPU'
    if step.exposed > max(step.device, step.host):
        bound = 'network'
    if cores is not None and cores < needed:
        rate, bound = cores * cluster.nodes * assumed.images_per_core, 'loader'
    return Candidate(
        layout=layout,
        memory=memory,
        step=step,
        saving=estimate_saving(workload, layout, cluster, assumed),
        images_per_second=rate,
        cores_per_node=needed,
        fits=memory.total <= cluster.gpu.memory * assumed.memory_share,
        bound=bound,
    )


def recommend(candidates: Sequence[Candidate]) -> Candidate:
    """The fastest setting with plain data parallelism; only if none fits, a sharded one.

    Of those that are as fast as estimates can tell it is the first, which recomputes least.

    Raises:
        ConfigError: nothing fits.
    """
    fitting = [candidate for candidate in candidates if candidate.fits]
    if not fitting:
        least = min(candidates, key=lambda candidate: candidate.memory.total)
        images = counted(least.layout.batch_per_device, 'image')
        raise ConfigError(
            f'nothing fits: {readable_size(least.memory.total)} a GPU with '
            f'{least.layout.parallel}, recompute={least.layout.recompute} and {images} in a '
            'micro-batch; take more or larger GPUs'
        )
    plain = [candidate for candidate in fitting if candidate.layout.parallel == 'ddp']
    fastest = max(candidate.images_per_second for candidate in plain or fitting)
    near = (c for c in plain or fitting if c.images_per_second >= (1 - _EQUAL) * fastest)
    return next(near)


def plan_cluster(
    run: PlannedRun,
    workload: Workload,
    cluster: Cluster,
    assumed: Assumptions,
    *,
    cores: int | None = None,
    command: str = '',
) -> Report:
    """The whole comparison, as its JSON file holds it; times in seconds, memory in bytes.

    Raises:
        ConfigError: nothing fits.
    """
    candidates = compare_layouts(run, workload, cluster, assumed, cores)
    chosen = recommend(candidates)
    return {
        'task': 'plan_cluster',
        'estimated': ESTIMATED,
        'command': command,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'run': asdict(run),
        'cluster': asdict(cluster),
        'assumed': asdict(assumed),
        'workload': {**asdict(workload), 'blocks': len(workload.blocks), 'state': workload.state},
        'candidates': [_figures(run, cluster, candidate) for candidate in candidates],
        'recommended': {
            **_figures(run, cluster, chosen),
            'train': training_command(run, cluster, chosen.layout),
        },
        'versions': software(),
    }


def _figures(run: PlannedRun, cluster: Cluster, candidate: Candidate) -> dict[str, Any]:
    step, useful = candidate.step, candidate.images_per_second * candidate.saving.goodput
    epochs = useful * 86400 / run.images
    return {
        **asdict(candidate),
        'memory': {**asdict(candidate.memory), 'total': candidate.memory.total},
        'step': {**asdict(step), 'total': step.total},
        'images_per_second_per_gpu': candidate.images_per_second / cluster.world_size,
        'efficiency': max(step.device, step.host) / step.total,
        'epochs_per_day': epochs,
        'days': run.epochs / epochs if run.epochs and epochs else None,
    }


def training_command(run: PlannedRun, cluster: Cluster, layout: ParallelLayout) -> str:
    """The command line that trains so."""
    words = ['tools/dist_train.sh', run.name, str(cluster.gpus)]
    if cluster.nodes > 1:
        words = [f'NNODES={cluster.nodes}', 'NODE_RANK=...', 'MASTER_ADDR=...', *words]
    words += ['--batch-per-device', str(layout.batch_per_device)]
    options = []
    if layout.parallel != 'ddp':
        options.append('parallel.type=fsdp')
    if layout.parallel == 'hsdp':
        options.append(f'parallel.shard_size={cluster.gpus}')
    if layout.recompute != 'nothing':
        options.append(f'model.encoder.recompute={layout.recompute}')
        if run.has_decoder:
            options.append(f'model.decoder.recompute={layout.recompute}')
    return ' '.join([*words, *(['--cfg-options', *options] if options else [])])


def show_plan(report: Report, console: Console | None = None) -> None:
    """Print the table and what is recommended."""
    run, cluster = report['run'], report['cluster']
    title = (
        f'{run["name"]}, {cluster["nodes"]} x {cluster["gpus"]} GPUs, global batch '
        f'{run["global_batch_size"]}\n{report["estimated"]}'
    )
    table = Table(*_HEADINGS, title=title)
    for figures in report['candidates']:
        table.add_row(*_cells(figures))
    console = console or Console(width=max(Console().width, _WIDTH))
    console.print(table)
    for line in _lines(report):
        console.print(line, highlight=False, soft_wrap=True)


def _cells(figures: dict[str, Any]) -> list[str]:
    layout, step = figures['layout'], figures['step']
    batch = f'{layout["micro_steps"]} x {layout["batch_per_device"]}'
    memory = f'{figures["memory"]["total"] / 2**30:.1f}'
    start = [layout['parallel'], layout['recompute'], batch, memory]
    if not figures['fits']:
        return [*start, *[''] * 7, 'memory']
    return [
        *start,
        *(f'{1e3 * step[key]:.1f}' for key in ('total', 'communication', 'exposed')),
        f'{figures["images_per_second"]:,.0f}',
        f'{figures["cores_per_node"]:.0f}',
        f'{figures["epochs_per_day"]:.1f}',
        f'{figures["saving"]["goodput"]:.1%}',
        figures['bound'],
    ]


def _lines(report: Report) -> list[str]:
    chosen = report['recommended']
    saving, memory = chosen['saving'], chosen['memory']
    parts = ', '.join(
        f'{key} {readable_size(value)}' for key, value in memory.items() if key != 'total'
    )
    days = '' if chosen['days'] is None else f'; {24 * chosen["days"]:,.1f} hours for the whole run'
    return [
        f'memory of a GPU: {parts}',
        f'each GPU sends {chosen["step"]["sent"] / 1e9:.2f} GB a step; the GPUs compute '
        f'{chosen["efficiency"]:.0%} of the time{days}',
        f'checkpoint: {saving["size"] / 1e9:.1f} GB, stalls {saving["stall"]:.2f} s, written in '
        f'{saving["write"]:.0f} s; one each {saving["interval"] / 60:.1f} min loses least at a '
        f'failure each {saving["mtbf"] / 3600:,.0f} h',
        *_faster(report),
        f'recommended: {chosen["train"]}',
    ]


def _faster(report: Report) -> list[str]:
    """What sharding would gain, where it is worth a line."""
    best = max(
        (figures for figures in report['candidates'] if figures['fits']),
        key=lambda figures: figures['images_per_second'],
    )
    gain = best['images_per_second'] / report['recommended']['images_per_second'] - 1
    return [f'{best["layout"]["parallel"]} would be {gain:.0%} faster'] if gain > _WORTH else []
