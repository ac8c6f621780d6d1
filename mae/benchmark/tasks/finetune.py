"""The fine-tuning step, ours beside timm's; mixup, cutmix and erasing are left out of both."""

from collections.abc import Sequence

from mae.benchmark import OURS, flops
from mae.benchmark.job import Job
from mae.benchmark.machine import describe
from mae.benchmark.ours import finetuner, finetuning
from mae.benchmark.race import mlp_sizes, race
from mae.benchmark.report import Report, report_of
from mae.benchmark.room import require_room
from mae.benchmark.variants import enter, invite


def run(
    job: Job,
    peers: Sequence[str],
    *,
    rounds: int = 10,
    steps: int = 2,
    memory: bool = True,
    command: str = '',
) -> Report:
    """Time all systems in turns.

    Args:
        job: config, batch, device, precision.
        peers: names of those to compare with.
        rounds: figures for each system.
        steps: optimizer steps timed together.
        memory: measure it too; compiled, that takes a second compilation.
        command: that began it, for the report.

    Raises:
        ValueError: the config describes no fine-tuning, or the batch does not fit the memory.
    """
    require_room(job, len(peers) + 1, lambda small: finetuner(finetuning(small)))
    given = finetuning(job)
    entrants = {OURS: enter(finetuner(given))}
    found, skipped = invite('finetune', peers, given, job.device)
    encoder = given.model.encoder
    tokens = encoder.grid_size[0] * encoder.grid_size[1] + encoder.num_prefix_tokens
    systems, more = race(
        job,
        entrants | found,
        rounds=rounds,
        steps=steps,
        flops_per_image=flops.training(flops.classification(given.model), encoder),
        sizes=mlp_sizes(tokens * job.batch_size, encoder.blocks[0].mlp),
        memory=memory,
    )
    return report_of(
        'finetune',
        systems,
        machine=describe(job.device),
        config=job.name,
        skipped=skipped,
        command=command,
        **more,
    )
