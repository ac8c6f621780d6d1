"""A model from a config, ready for a notebook."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from mae.apis.device import check_device
from mae.apis.suggest_config import likely_config
from mae.config import load_config
from mae.fault_tolerance.checkpoint import fit_weights
from mae.registry import MODELS
from mae.zoo.fetch import find_file
from mae.zoo.formats import load_weights


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device = 'cpu',
) -> Any:
    """Build the model of a config, in evaluation mode.

    Args:
        config: path, `Config`, or the bare name of a shipped config.
        checkpoint: weights to load, a file or folder in any known format, a name of
            `list_models` or an address; None leaves the weights as initialised.
        device: such as 'cpu' or 'cuda:1'.

    Returns:
        An `MAE` or `Classifier`.

    Raises:
        ConfigError: the config says something impossible.
        CheckpointError: the weights cannot be read or do not fit.
        DownloadError: they cannot be fetched, or are not what was published.
        ValueError: there is no such device.
    """
    device = check_device(device)
    model: nn.Module = MODELS.build(load_config(config).model)
    if checkpoint is None:
        model.init_weights()  # type: ignore[operator]  # every algorithm has it
    else:
        fetched = find_file(checkpoint)
        path = fetched.path
        found = load_weights(path, fetched.proof)
        report = fit_weights(
            model,
            found['state_dict'],
            path,
            exact=True,
            facts=found['facts'],
            notes=found['notes'],
            suggest=likely_config,
        )
        print_log(f'{path}: {report}', logger='current')
    return model.to(device).eval()
