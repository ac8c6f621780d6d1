"""The processes of a run, with or without GPUs: initialising, destroying, and failing as one."""

import os
import subprocess
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process

from mae.utils.errors import CheckpointError, ConfigError
from mae.utils.launched import die_with_parent
from mae.utils.network import address_towards, interface_of

T = TypeVar('T')

# Seconds after which a silent process counts as dead, unless `env_cfg.dist_cfg` says otherwise.
STEP_TIMEOUT = 120.0
START_TIMEOUT = 600.0


class Timeouts(NamedTuple):
    """Seconds after which a silent process counts as dead.

    Attributes:
        start: while processes start, save, validate, or end an epoch, up to its next step.
        step: in a training step and while it waits for data.
    """

    start: float
    step: float

    @classmethod
    def of(cls, dist_cfg: Mapping[str, Any]) -> 'Timeouts':
        """Read `env_cfg.dist_cfg`; a start may always take as long as a step."""
        step = float(dist_cfg.get('timeout', STEP_TIMEOUT))
        return cls(max(float(dist_cfg.get('start_timeout', START_TIMEOUT)), step), step)


def is_first_process(launcher: str) -> bool:
    """Whether this process is the first of its run, also before it has joined the others."""
    if launcher == 'none':
        return True
    return int(os.environ.get('SLURM_PROCID' if launcher == 'slurm' else 'RANK') or 0) == 0


def require_visible_gpu() -> None:
    """Refuse an environment that names GPUs of which torch sees none.

    Raises:
        ConfigError: names the variable.
    """
    named = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    is_meant = named.strip() not in ('', '-1', 'NoDevFiles')  # the last is SLURM's word for none
    if is_meant and torch.backends.cuda.is_built() and not torch.cuda.is_available():
        raise ConfigError(
            f'CUDA_VISIBLE_DEVICES={named}, but torch sees no such GPU: name one that nvidia-smi '
            'lists, or set it to nothing to run on the CPU'
        )


def init_distributed(
    launcher: str, timeout: float = START_TIMEOUT, traces: Path | None = None
) -> None:
    """Join the default process group: NCCL where there are GPUs, else gloo.

    mmengine's `init_dist` calls CUDA even where there is no GPU. A process that torchrun has
    started gets SIGTERM when torchrun dies.

    Args:
        launcher: 'pytorch' (torchrun has set the environment) or 'slurm'.
        timeout: seconds after which a silent partner counts as dead.
        traces: folder where NCCL's flight recorder writes, after a timeout, the last operations of
            each process.

    Raises:
        ValueError: another launcher, the environment it should have set is missing, the node has
            fewer GPUs than processes, or the launcher is dead already.
    """
    if launcher == 'slurm':
        _environment_from_slurm()
    elif launcher != 'pytorch':
        raise ValueError(f"launcher must be 'none', 'pytorch' or 'slurm', not {launcher!r}")
    if 'RANK' not in os.environ:
        raise ValueError(
            'launcher pytorch needs the environment torchrun sets (RANK, WORLD_SIZE, ...); '
            'start with tools/dist_train.sh CONFIG GPUS'
        )
    if launcher == 'pytorch':  # whoever starts SLURM's tasks ends them too
        die_with_parent()
    if 'GLOO_SOCKET_IFNAME' not in os.environ and (name := interface_to_master()):
        os.environ['GLOO_SOCKET_IFNAME'] = name
    if torch.cuda.is_available():
        if traces is not None:
            _record_flight(traces)
        if launcher == 'slurm' and torch.cuda.device_count() == 1:
            os.environ['LOCAL_RANK'] = '0'  # SLURM shows each task its own GPU alone
        local_rank = int(os.environ['LOCAL_RANK'])
        if local_rank >= torch.cuda.device_count():
            raise ValueError(
                f'process {local_rank} of this node has no GPU: there are only '
                f'{torch.cuda.device_count()}; start at most so many processes'
            )
        torch.cuda.set_device(local_rank)
    options: dict[str, Any] = {'timeout': timedelta(seconds=timeout)}
    if torch.cuda.is_available():  # NCCL starts at once, and barriers need not guess the device
        options['device_id'] = torch.device('cuda', torch.cuda.current_device())
    dist.init_process_group('nccl' if 'device_id' in options else 'gloo', **options)


def set_timeout(seconds: float) -> None:
    """Change the time after which operations of the default process group fail."""
    if dist.is_available() and dist.is_initialized():
        change = getattr(dist, 'set_timeout', None)  # the name that newer torch has for it
        if change is None:
            change = dist.distributed_c10d._set_pg_timeout
        change(timedelta(seconds=seconds))


def interface_to_master() -> str | None:
    """Network interface of the route to MASTER_ADDR, for gloo.

    Left to itself gloo takes the address that the host name resolves to: on Debian 127.0.1.1,
    which no other node can reach.

    Returns:
        None if the address is one of this machine alone, of IPv6, or cannot be found out.
    """
    port = int(os.environ.get('MASTER_PORT') or 29500)
    address = address_towards(os.environ.get('MASTER_ADDR', '127.0.0.1'), port)
    if address is None or address.startswith('127.'):
        return None
    return interface_of(address)


def _record_flight(folder: Path) -> None:
    """Set what NCCL reads when it starts, unless it is set.

    See https://docs.pytorch.org/tutorials/unstable/flight_recorder_tutorial.html.
    """
    place = str(folder.absolute() / 'nccl_trace_rank_')
    for name, value in (
        ('TORCH_FR_BUFFER_SIZE', '2000'),
        ('TORCH_NCCL_DUMP_ON_TIMEOUT', '1'),
        ('TORCH_FR_DUMP_TEMP_FILE', place),
    ):
        os.environ.setdefault(name, value)


def leave_distributed() -> None:
    """Destroy the process group, if any, before the interpreter exits under its threads."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def on_main(function: Callable[[], T]) -> T:
    """Let the first process call `function`; all get what it returns, or raise what it raises."""
    outcome: list[Any] = [None]
    failure: Exception | None = None
    if is_main_process():
        try:
            outcome = [(function(), None)]
        except Exception as error:
            failure = error
            outcome = [(None, str(error))]
    broadcast_object_list(outcome, src=0)
    if failure is not None:
        raise failure
    result, message = outcome[0]
    if message is not None:
        raise CheckpointError(message)
    found: T = result
    return found


def together(function: Callable[[], T]) -> T:
    """Call `function` in every process; if it fails in one, all of them raise."""
    result: Any = None
    failure: Exception | None = None
    try:
        result = function()
    except Exception as error:
        failure = error
    if dist.is_initialized():
        messages = all_gather_object(str(failure) if failure else '')
        for rank, message in enumerate(messages):
            if message and failure is None:
                raise CheckpointError(f'process {rank}: {message}')
    if failure is not None:
        raise failure
    found: T = result
    return found


def _environment_from_slurm() -> None:
    """Translate SLURM's variables into torchrun's."""
    try:
        rank, world_size = os.environ['SLURM_PROCID'], os.environ['SLURM_NTASKS']
    except KeyError as error:
        raise ValueError(f'launcher slurm needs srun, which sets {error}') from None
    os.environ['RANK'] = rank
    os.environ['WORLD_SIZE'] = world_size
    os.environ['LOCAL_RANK'] = os.environ.get('SLURM_LOCALID', '0')
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
        hosts = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        os.environ['MASTER_ADDR'] = hosts.split()[0]
