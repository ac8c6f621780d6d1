"""The processes of a run, with or without GPUs: initialising, destroying, and failing as one."""

import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process

from mae.utils.errors import CheckpointError, ConfigError

T = TypeVar('T')

# Seconds after which a silent process counts as dead, unless `env_cfg.dist_cfg` says otherwise.
TIMEOUT = 600


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


def init_distributed(launcher: str, timeout: float = TIMEOUT) -> None:
    """Join the default process group: NCCL where there are GPUs, else gloo.

    mmengine's `init_dist` calls CUDA even where there is no GPU.

    Args:
        launcher: 'pytorch' (torchrun has set the environment) or 'slurm'.
        timeout: seconds after which a silent partner counts as dead.

    Raises:
        ValueError: another launcher, the environment it should have set is missing, or the node
            has fewer GPUs than processes.
    """
    if launcher == 'slurm':
        _environment_from_slurm()
    elif launcher != 'pytorch':
        raise ValueError(f"--launcher must be 'none', 'pytorch' or 'slurm', not {launcher!r}")
    if 'RANK' not in os.environ:
        raise ValueError(
            '--launcher pytorch needs the environment torchrun sets (RANK, WORLD_SIZE, ...); '
            'start with tools/dist_train.sh CONFIG GPUS'
        )
    if torch.cuda.is_available():
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
        raise ValueError(f'--launcher slurm needs srun, which sets {error}') from None
    os.environ['RANK'] = rank
    os.environ['WORLD_SIZE'] = world_size
    os.environ['LOCAL_RANK'] = os.environ.get('SLURM_LOCALID', '0')
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
        hosts = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        os.environ['MASTER_ADDR'] = hosts.split()[0]
