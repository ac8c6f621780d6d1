"""Whether a batch will fit the memory, found out before it is allocated.

Shapes: N tokens, D width, M images of the bank.
"""

from collections.abc import Callable
from dataclasses import replace

from mae.benchmark.job import Job
from mae.benchmark.machine import available_memory
from mae.benchmark.memory import activation_bytes, gib, require_memory, static_bytes
from mae.benchmark.ours import shape_of
from mae.benchmark.training import Trainee

_PEERS_KEEP = 1.6  # activations of the peers over ours


def require_room(job: Job, systems: int, build: Callable[[Job], Trainee]) -> None:
    """Refuse a batch that cannot fit, by what one and two images take of ours.

    Args:
        job: the comparison.
        systems: that will be there at once.
        build: ours, for a job of another batch.

    Raises:
        ValueError: says how much memory is needed, how much there is, and what would fit.
    """
    available = available_memory(job.device)
    static = systems * static_bytes(shape_of(job))
    what = f'{systems} systems with weights, gradients and AdamW'
    require_memory(static, available, what, 'compare with fewer --peers')
    pair = build(replace(job, batch_size=2, compile=False))
    of_two, of_one = (activation_bytes(pair.loss, pair.model, n, job.device) for n in (2, 1))
    # Each keeps in its own process what its activations took.
    each = (of_two - of_one) * (1 + _PEERS_KEEP * (systems - 1))
    _require_batch(job, available, each, static, f'{systems} systems')


def require_room_to_evaluate(job: Job, bank: int) -> None:
    """Refuse a batch whose features cannot be taken, by the least that an image needs.

    Args:
        job: the comparison.
        bank: M.

    Raises:
        ValueError: says how much memory is needed, how much there is, and what would fit.
    """
    available = available_memory(job.device)
    encoder = shape_of(job).encoder.requires_grad_(False)
    height, width = encoder.img_size
    N = encoder.grid_size[0] * encoder.grid_size[1] + encoder.num_prefix_tokens
    # uint8, normalised for the peers, and normalised in our step; then a block at its widest: the
    # sum, its norm, and the hidden values of the MLP on both sides of the GELU.
    pixels = (1 + 4 + 4) * encoder.in_channels * height * width
    mlp = encoder.blocks[0].mlp.fc1
    each_token = mlp.in_features + 2 * mlp.out_features
    tokens = N * (4 * mlp.in_features + job.dtype.itemsize * each_token)
    static = static_bytes(encoder) + 2 * 4 * bank * encoder.embed_dim  # as drawn, and of length 1
    require_memory(static, available, f'a bank of {bank:,} images', 'lower --bank')
    _require_batch(job, available, pixels + tokens, static, f'a bank of {bank:,}')


def _require_batch(job: Job, available: int | None, each: float, static: float, what: str) -> None:
    if available is None:
        return
    most = int((available - static) / each)
    require_memory(
        static + each * job.batch_size,
        available,
        f'a batch of {job.batch_size}',
        f'{gib(static)} for {what}, {each / 2**20:.0f} MiB an image; --batch {most} would fit',
    )
