"""The training step, ours beside the peers', interleaved with the machine's matrix products.

Task 'step' is pre-training, 'finetune' fine-tuning without mixup, cutmix and erasing; 'segment' and
'detect' are dense fine-tuning without drop path, of which no operations are counted.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mae.benchmark.measure import Clock, MatmulPeak, Timing, alternate, clock_of
from mae.benchmark.memory import require_memory_to_train
from mae.benchmark.ours import TASKS, meta_model
from mae.benchmark.report import Figures, Report, build_report, throughput
from mae.benchmark.settings import Settings
from mae.benchmark.systems import start_systems
from mae.zoo.cost import classification_flops, pretraining_flops, training_flops

_PEAK = 'matmul'
Sizes = list[tuple[int, int, int]]  # M, K, N of products (M, K) @ (K, N)


def run(
    settings: Settings,
    peers: Sequence[str],
    *,
    task: str,
    rounds: int = 10,
    steps: int = 2,
    memory: bool = True,
    equal_allocator: bool = False,
    command: str = '',
) -> Report:
    """Time all systems, interleaved.

    Args:
        settings: config, batch, device, precision.
        peers: names of modules in `mae.benchmark.peers`.
        task: 'step', 'finetune', 'segment' or 'detect'.
        rounds: figures for each system.
        steps: optimizer steps timed together.
        memory: measure it too; compiled, that takes a second compilation.
        equal_allocator: see `mae.benchmark.systems.start_systems`.
        command: the command line, for the report.

    Raises:
        ValueError: the config describes no such training, or the batch does not fit the memory.
    """
    prepare, ours = TASKS[task]
    require_memory_to_train(settings, len(peers) + 1, lambda small: ours(prepare(small)))
    work = _WORK[task](meta_model(settings), settings.batch_size) if task in _WORK else None
    started = start_systems(task, peers, settings, equal_allocator=equal_allocator)
    with started as (workers, skipped):
        clocks: dict[str, Clock] = {
            name: partial(worker.call, 'seconds') for name, worker in workers.items()
        }
        if work:
            peak = MatmulPeak(work[1], settings.device, settings.dtype)
            clocks[_PEAK] = clock_of(peak, settings.device, cpu_time=settings.cpu_time)
        timings = alternate(clocks, rounds=rounds, steps=steps, warmup=2)
        peak_rate = peak.flops / timings.pop(_PEAK).median if work else None
        systems = {}
        for name, worker in workers.items():
            facts = worker.call('facts')
            systems[name] = {
                **_speed(timings[name], settings.batch_size, work and work[0], peak_rate),
                'loss': facts['check'],
                'switch': facts['switch'],
                **(worker.call('memory') if memory else {}),
            }
    return build_report(
        task,
        systems,
        **settings.facts,
        skipped=skipped,
        command=command,
        equal_allocator=equal_allocator,
        dtype=str(settings.dtype).removeprefix('torch.'),
        compile=settings.compile,
        steps_per_round=steps,
        cpu_time=settings.cpu_time,
        **_peak_facts(work[0], peak.size, peak_rate) if work and peak_rate else {},
    )


def _peak_facts(flops_per_image: float, size: str, peak_rate: float) -> Figures:
    return {
        'gflop_per_image': flops_per_image / 1e9,
        'matmul_peak': {'tflops': peak_rate / 1e12, 'size': size},
    }


def _speed(
    timing: Timing, batch_size: int, flops_per_image: float | None, peak_rate: float | None
) -> Figures:
    if flops_per_image is None or peak_rate is None:
        return throughput(timing, batch_size)
    rate = flops_per_image * batch_size / timing.median
    return {
        **throughput(timing, batch_size),
        'tflops': rate / 1e12,
        'share_of_peak': rate / peak_rate,
    }


def _pretraining_work(model: Any, batch_size: int) -> tuple[float, Sizes]:
    """FLOPs of an image, forward and backward, and the largest products of a step."""
    encoder, decoder = model.encoder, model.decoder
    prefix, L = encoder.num_prefix_tokens, encoder.grid_size[0] * encoder.grid_size[1]
    K = model.masker.num_keep(L)
    sizes = _mlp_sizes((K + prefix) * batch_size, encoder.blocks[0].mlp)
    sizes += _mlp_sizes((L + prefix) * batch_size, decoder.blocks[0].mlp)
    return training_flops(pretraining_flops(model), encoder), sizes


def _finetuning_work(model: Any, batch_size: int) -> tuple[float, Sizes]:
    encoder = model.encoder
    tokens = encoder.grid_size[0] * encoder.grid_size[1] + encoder.num_prefix_tokens
    sizes = _mlp_sizes(tokens * batch_size, encoder.blocks[0].mlp)
    return training_flops(classification_flops(model), encoder), sizes


def _mlp_sizes(tokens: int, mlp: Any) -> Sizes:
    """The two products of a block's MLP for that many tokens."""
    K, N = mlp.fc1.in_features, mlp.fc1.out_features
    return [(tokens, K, N), (tokens, N, K)]


_WORK: dict[str, Callable[[Any, int], tuple[float, Sizes]]] = {
    'step': _pretraining_work,
    'finetune': _finetuning_work,
}
