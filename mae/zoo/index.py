"""The index of published weights: `model-index.yml` and its metafiles."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from mmengine.fileio import load

from mae.utils.errors import ConfigError
from mae.utils.package_files import package_path
from mae.zoo.address import file_name


@dataclass(frozen=True)
class Entry:
    """One file of weights.

    Attributes:
        name: as `get_model` takes it, unique in the index.
        config: path of the config whose model it fits.
        url: `https://` address at which it was published.
        checksum: 'sha256:' or 'md5:' and at least the first digits; None if none was published.
        license: SPDX identifier of its terms.
        source: who trained and published it.
        holds: 'all' of the model, or its 'encoder' only.
        parameters: number of parameters of the model, frozen positions included.
        flops: operations of one image forward, a multiply-add counted as 2, with masking and
            decoder.
        training_flops: operations of one image forward and backward.
        epochs: number of training epochs; None if not published.
        metrics: published results by name, in percent; those that another config measures, such as
            the accuracy after fine-tuning, are of the weights of that config.
        note: remarks for the user, such as restrictions.
    """

    name: str
    config: Path
    url: str
    checksum: str | None
    license: str
    source: str
    holds: Literal['all', 'encoder']
    parameters: int
    flops: int
    training_flops: int
    epochs: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    note: str = ''

    @property
    def file(self) -> str:
        """Name of the file."""
        return file_name(self.url)


def entries() -> tuple[Entry, ...]:
    """All weights, in the order of the index; none if the package came without it."""
    index = package_path('model-index.yml')
    return read_index(index) if index else ()


@cache
def read_index(index: Path) -> tuple[Entry, ...]:
    """All weights of the metafiles that an index imports.

    Raises:
        ConfigError: an entry lacks a fact; names file, entry and fact.
    """
    found: list[Entry] = []
    for name in load(index)['Import']:
        metafile = index.parent / name
        found += [_entry(model, metafile, index.parent) for model in load(metafile)['Models']]
    return tuple(found)


def find_entry(name: str) -> Entry | None:
    """The weights of that name, of that file name with or without `.pth`, or of that address."""
    for entry in entries():
        if name in (entry.name, entry.file, entry.file.removesuffix('.pth'), entry.url):
            return entry
    return None


def weights_for(config: Path) -> Entry | None:
    """The weights listed first for a config."""
    config = config.resolve()
    return next((entry for entry in entries() if entry.config.resolve() == config), None)


def _entry(model: Mapping[str, Any], metafile: Path, root: Path) -> Entry:
    facts = model.get('Metadata', {})
    try:
        return Entry(
            name=model['Name'],
            config=root / model['Config'],
            url=model['Weights'],
            checksum=facts.get('Checksum'),
            license=facts['License'],
            source=facts['Source'],
            holds=facts.get('Holds', 'all'),
            parameters=facts['Parameters'],
            flops=facts['FLOPs'],
            training_flops=facts['Training FLOPs'],
            epochs=facts.get('Epochs'),
            metrics={k: v for r in model.get('Results') or () for k, v in r['Metrics'].items()},
            note=facts.get('Note', ''),
        )
    except KeyError as error:
        raise ConfigError(f'{metafile}: {model.get("Name")} has no {error}') from None
