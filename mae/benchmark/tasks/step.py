"""The pre-training step: forward, backward and update, ours beside the peers'."""

from collections.abc import Sequence

from mae.benchmark import flops
from mae.benchmark.job import Job
from mae.benchmark.ours import pretrainer, pretraining, shape_of
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
        ValueError: the config describes no pre-training, or the batch does not fit the memory.
    """
    require_room(job, len(peers) + 1, lambda small: pretrainer(pretraining(small)))
    model = shape_of(job)
    encoder, decoder = model.encoder, model.decoder
    prefix, L = encoder.num_prefix_tokens, encoder.grid_size[0] * encoder.grid_size[1]
    K = model.masker.num_keep(L)
    return race(
        'step',
        job,
        peers,
        rounds=rounds,
        steps=steps,
        flops_per_image=flops.training(flops.pretraining(model), encoder),
        sizes=mlp_sizes((K + prefix) * job.batch_size, encoder.blocks[0].mlp)
        + mlp_sizes((L + prefix) * job.batch_size, decoder.blocks[0].mlp),
        memory=memory,
        equal_allocator=equal_allocator,
        command=command,
    )
