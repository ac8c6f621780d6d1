"""The fine-tuning step, ours beside timm's; mixup, cutmix and erasing are left out of both."""

from collections.abc import Sequence

from mae.benchmark import flops
from mae.benchmark.job import Job
from mae.benchmark.ours import finetuner, finetuning, shape_of
from mae.benchmark.race import mlp_sizes, race
from mae.benchmark.report import Report
from mae.benchmark.room import require_room


def run(
    job: Job,
    peers: Sequence[str],
    *,
    rounds: int = 10,
    steps: int = 2,
    memory: bool = True,
    equal_allocator: bool = False,
    command: str = '',
) -> Report:
    """Time all systems in turns.

    Args:
        job: config, batch, device, precision.
        peers: names of those to compare with.
        rounds: figures for each system.
        steps: optimizer steps timed together.
        memory: measure it too; compiled, that takes a second compilation.
        equal_allocator: see `mae.benchmark.seats.invite`.
        command: that began it, for the report.

    Raises:
        ValueError: the config describes no fine-tuning, or the batch does not fit the memory.
    """
    require_room(job, len(peers) + 1, lambda small: finetuner(finetuning(small)))
    model = shape_of(job)
    encoder = model.encoder
    tokens = encoder.grid_size[0] * encoder.grid_size[1] + encoder.num_prefix_tokens
    return race(
        'finetune',
        job,
        peers,
        rounds=rounds,
        steps=steps,
        flops_per_image=flops.training(flops.classification(model), encoder),
        sizes=mlp_sizes(tokens * job.batch_size, encoder.blocks[0].mlp),
        memory=memory,
        equal_allocator=equal_allocator,
        command=command,
    )
