"""Models by name, with weights: `list_models`, `get_model`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mae.apis.device import resolve_device
from mae.apis.model import build_and_load
from mae.config import find_config, load_config, shipped_configs
from mae.config.load import FROM_OPTIONS
from mae.fault_tolerance.checkpoint import LoadReport
from mae.utils.errors import CheckpointError, ConfigError
from mae.utils.suggest import nearest
from mae.utils.text import counted
from mae.zoo.fetch import Fetched, fetch_verified, find_file
from mae.zoo.index import Entry, entries, find_entry, weights_for


@dataclass(frozen=True)
class LoadedModel:
    """A model and where it came from.

    Attributes:
        model: in evaluation mode, on its device.
        config: the config that the model was built from.
        entry: entry of the index, if the weights are published there.
        classes: names of the classes, if the file says them.
        report: which weights were loaded and which left out, if any were loaded.
    """

    model: Any
    config: Config
    entry: Entry | None = None
    classes: tuple[str, ...] = ()
    report: LoadReport | None = None

    def require_head(self) -> None:
        """Refuse a classifier whose head was not loaded: its predictions are random.

        Raises:
            CheckpointError: names the weights that were not in the file.
        """
        missing = self.report.missing if self.report and hasattr(self.model, 'head') else []
        fresh = [name for name in missing if name.startswith(('head.', 'neck.'))]
        if fresh:
            raise CheckpointError(
                f'the weights bring no head that fits ({fresh[0]} would be random): take those of '
                f'a fine-tuned model of {self.model.num_classes} classes'
            )

    def class_names(self) -> list[str]:
        """Those of `classes`, ImageNet's for published weights of 1000 classes, else none."""
        is_published = self.entry is not None and getattr(self.model, 'num_classes', 0) == 1000
        if self.classes or not is_published:
            return list(self.classes)
        from timm.data.imagenet_info import ImageNetInfo

        known = ImageNetInfo('imagenet-1k')
        return [known.index_to_description(label) for label in range(1000)]


def require_class_names(names: Sequence[str], num_classes: int) -> None:
    """Refuse names of classes that are too few or too many.

    Raises:
        ValueError: says both numbers.
    """
    if len(names) != num_classes:
        classes = counted(num_classes, 'class', 'classes')
        raise ValueError(f'{counted(len(names), "name")} for {classes}')


def list_models(pattern: str = '*') -> list[str]:
    """Names of weights that `get_model(name, pretrained=True)` fetches.

    Args:
        pattern: with `*` and `?`; a name without them is looked for anywhere in the names.
    """
    if not any(sign in pattern for sign in '*?['):
        pattern = f'*{pattern}*'
    return [entry.name for entry in entries() if fnmatchcase(entry.name, pattern)]


def find_model(name: str) -> Entry:
    """The published weights of a name of `list_models`, a file name or a config's name.

    Raises:
        ConfigError: nothing has that name (suggests the nearest), or none are published for it.
    """
    entry = _resolve(name)[1]
    if entry is None:
        raise ConfigError(f'no weights are published for {name}; `mae zoo list` shows all')
    return entry


def get_model(
    name: str | Path | Config,
    pretrained: bool | str | Path = False,
    *,
    device: str | torch.device = 'cpu',
    **overrides: Any,
) -> Any:
    """A model by the name of its weights or of its config, ready for a notebook.

    `init_model` takes configs alone and loads whole weights only; `load_model` returns more about
    the model.

    Args:
        name: a name of `list_models`, the file name of a published file, or a config (name, path,
            `Config`).
        pretrained: False leaves the weights as initialised; True takes the published file of
            that name, of a config the one listed first; or a path, an address or another name
            of `list_models`. What became of the weights is always printed.
        device: such as 'cpu' or 'cuda:1'.
        overrides: keys of `model` that replace those of the config, such as
            `encoder=dict(img_size=448)`; weights are then fitted as for fine-tuning.

    Returns:
        An `MAE` or `Classifier` in evaluation mode.

    Raises:
        ConfigError: nothing has that name (suggests the nearest), or a key is wrong.
        CheckpointError: the weights cannot be read or do not fit.
        DownloadError: they cannot be fetched, or are not what was published.
        ValueError: there is no such device.
    """
    return load_model(name, pretrained, device=device, **overrides).model


def load_model(
    name: str | Path | Config,
    pretrained: bool | str | Path = False,
    *,
    device: str | torch.device = 'cpu',
    **overrides: Any,
) -> LoadedModel:
    """Like `get_model`, with config, index entry, class names and report."""
    device = resolve_device(device)
    config, entry = _resolve(name)
    try:
        config = load_config(config, {f'model.{key}': value for key, value in overrides.items()})
    except ConfigError as error:  # a keyword is no option of a command line
        raise ConfigError(str(error).removeprefix(FROM_OPTIONS)) from error
    if pretrained is False:
        return LoadedModel(build_and_load(config, None, device)[0], config)
    entry, fetched = _find_weights(name, pretrained, entry)
    exact = pretrained is True and not overrides and entry is not None and entry.holds == 'all'
    model, report, found = build_and_load(config, fetched, device, exact=exact)
    print(f'{fetched.path}: {report}', file=sys.stderr, flush=True)
    meta = found.get('meta')
    classes = meta.get('classes') if isinstance(meta, dict) else None
    return LoadedModel(model, config, entry, tuple(map(str, classes or ())), report)


def _resolve(name: str | Path | Config) -> tuple[Path | Config, Entry | None]:
    """The config, and the weights that the name stands for."""
    if isinstance(name, Config):
        return name, None
    entry = find_entry(str(name))
    if entry is not None:
        return entry.config, entry
    try:
        config = find_config(name)
    except ConfigError as error:
        if '/' in str(name):
            raise
        known = {*list_models(), *(path.stem for path in shipped_configs())}
        near = nearest(str(name).removesuffix('.pth').removesuffix('.py'), known, limit=3)
        message = str(error).partition('; nearest')[0].replace('config', 'model or config', 1)
        hint = f'nearest: {", ".join(near)}' if near else '`mae zoo list` shows all'
        raise ConfigError(f'{message}; {hint}') from None
    return config, weights_for(config)


def _find_weights(
    name: Any, pretrained: bool | str | Path, entry: Entry | None
) -> tuple[Entry | None, Fetched]:
    """Where the weights lie, fetched if they must be."""
    if pretrained is True:
        if entry is None:
            what = getattr(name, 'filename', None) or name
            raise CheckpointError(
                f'no weights are published for {what}: give a path or address of some, or a name '
                'that `mae zoo list` shows'
            )
        return entry, fetch_verified(entry)
    source = str(pretrained)
    is_here = bool(source) and Path(source).expanduser().exists()
    return None if is_here else find_entry(source), find_file(source)
