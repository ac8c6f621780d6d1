"""Models from configs; `build_and_load` is called by all functions that return a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from mae.apis.device import resolve_device
from mae.apis.suggest_config import matching_config
from mae.config import load_config
from mae.fault_tolerance.checkpoint import LoadReport, fit_weights
from mae.registry import MODELS
from mae.zoo.fetch import Fetched, find_file
from mae.zoo.formats import load_weights


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device = 'cpu',
) -> Any:
    """Build the model of a config, in evaluation mode, and give it all of its weights or none.

    Named as in the OpenMMLab libraries. `get_model` also takes names of published weights, changes
    to the config, and weights that fit in part.

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
    device = resolve_device(device)
    loaded = load_config(config)
    fetched = None if checkpoint is None else find_file(checkpoint)
    model, report, _ = build_and_load(loaded, fetched, device)
    if fetched is not None:
        print_log(f'{fetched.path}: {report}', logger='current')
    return model


def build_and_load(
    config: Config,
    fetched: Fetched | None,
    device: torch.device,
    *,
    exact: bool = True,
) -> tuple[Any, LoadReport, Mapping[str, Any]]:
    """Build the model of a config and load weights into it: under `init_model` and `load_model`.

    Args:
        config: as `load_config` returns it.
        fetched: the weights; None starts them as the recipe says.
        device: where to put the model.
        exact: all weights must be those of the model; else decoder and head may differ, and what
            the file lacks starts as the recipe says.

    Returns:
        The model in evaluation mode, what became of the weights, and the content of the file.
    """
    found = load_weights(fetched.path, fetched.proof) if fetched else {}
    model = MODELS.build(config.model)
    if fetched is None or not exact:
        model.init_weights()
    report = LoadReport()
    if fetched is not None:
        report = fit_weights(
            model,
            found['state_dict'],
            fetched.path,
            exact=exact,
            facts=found['facts'],
            notes=found['notes'],
            suggest=matching_config,
        )
    return model.to(device).eval(), report, found
