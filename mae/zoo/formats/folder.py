"""A folder as transformers or timm reads it, with a model card, ready for the Hub."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mae.zoo.formats.architecture import Architecture
from mae.zoo.formats.export import ExportedWeights, complete_facts
from mae.zoo.formats.hub import transformers_processor, unit_levels, why_no_pipeline
from mae.zoo.formats.hub_card import hub_card
from mae.zoo.formats.metadata import Facts
from mae.zoo.formats.timm_folder import timm_config
from mae.zoo.formats.training import Training

WEIGHTS, CONFIG, CARD = 'model.safetensors', 'config.json', 'README.md'
PROCESSOR = 'preprocessor_config.json'
ShortSide = Callable[[tuple[int, int]], int]


@dataclass(frozen=True)
class HubFolder:
    """What lies beside the weights in a folder.

    Attributes:
        files: name to the content of a JSON file.
        card: content of its `README.md`.
        notes: for the report, a line each.
    """

    files: Mapping[str, Mapping[str, Any]]
    card: str
    notes: list[str]


def hub_folder(
    exported: ExportedWeights,
    name: str,
    short_side: ShortSide,
    training: Training | None = None,
    processor: Mapping[str, Any] | None = None,
) -> HubFolder:
    """Describe exported weights as the other library and the Hub read it.

    Args:
        exported: for transformers or timm.
        name: title of the card.
        short_side: from (height, width) in pixels of the model's images to what the shorter side
            of an image is resized to before the centre is cut out.
        training: for the card; None states nothing.
        processor: for transformers' `preprocessor_config.json`; by default the one that prepares
            images as this toolbox does.

    Raises:
        CheckpointError: the library has no model that computes the same, or a fact is missing
            that it needs.
    """
    found, training = exported.architecture, training or Training()
    facts, notes = complete_facts(found, exported.metadata['facts'])
    h, w = (count * found.patch_size for count in facts['grid_size'])
    side, is_own = short_side((h, w)), bool(processor)
    if exported.config is None:
        config, lines = timm_config(found, facts, side)
        files = {CONFIG: config}
    else:
        config, lines = exported.config, []
        if not processor:
            processor, lines = transformers_processor(config, facts, side)
        files = {CONFIG: config, PROCESSOR: dict(processor)}
    if why := why_no_pipeline(found.in_channels, training.bits):
        lines.append(f'{why}: give images to its processor or the model itself')
    elif found.decoder:
        lines.append(
            'its pipeline for features hides patches at random; encoder_only writes an encoder '
            'that sees all of them'
        )
    images = [f'As `{PROCESSOR}` says, which came with the source.']
    if not is_own:
        cut = f'The short side becomes {side} pixels, then the centre of {h}x{w} is cut out.'
        squeezed = exported.config is not None and h != w
        shape = f'They are squeezed to {h}x{w} pixels.' if squeezed else cut
        images = _images(found, facts, shape)
    card = hub_card(name, exported.layout.name, found, facts, training, config, images)
    return HubFolder(files, card, [*notes, *lines])


def _images(found: Architecture, facts: Facts, shape: str) -> list[str]:
    """How an image becomes an input."""
    mean, std, assumed = unit_levels(facts, found.in_channels)
    shown = [', '.join(f'{value:.6g}' for value in values) for values in (mean, std)]
    scaled = 'Values are scaled to 0..1, then normalised in each channel: '
    return [shape, *assumed, f'{scaled}mean {shown[0]}; standard deviation {shown[1]}.']
