"""Our reconstructions beside those of transformers, from the same weights and masks.

Shapes: B images, C channels, H W pixels, L patches, K kept, P values in a patch.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mae.apis.formats import write_weights
from mae.apis.images import short_side
from mae.config import load_config
from mae.registry import DATASETS
from mae.visualization.panels import Panel, reconstruction_panels
from mae.zoo.formats import BY_NAME, export_weights
from mae.zoo.formats.folder import hub_folder


@torch.inference_mode()
def compare_transformers(model: Any, images: Tensor, seed: int = 0) -> tuple[list[Panel], float]:
    """Run a model here and, converted, in transformers.

    Args:
        model: an `MAE`, from `init_model`.
        images: uint8 (B, C, H, W) of the model's size, which must be square.
        seed: chooses the masks.

    Returns:
        Panels of four pictures, the last by transformers; and the largest difference of the
        predictions, relative to the largest of them.

    Raises:
        CheckpointError: transformers has no class for the model.
        ImportError: transformers is not installed.
    """
    try:
        from transformers import ViTMAEForPreTraining
    except ImportError:
        raise ImportError('transformers is not there: pip install transformers') from None
    preprocessor, encoder = model.data_preprocessor, model.encoder
    L = encoder.grid_size[0] * encoder.grid_size[1]
    # They round K down in floats: half a patch more gives our K whatever the ratio.
    facts = {**model.get_facts(), 'mask_ratio': 1 - (model.masker.num_keep(L) + 0.5) / L}
    exported = export_weights(model.state_dict(), BY_NAME['transformers'], facts, 'the model')
    with tempfile.TemporaryDirectory() as folder:
        write_weights(exported, Path(folder) / 'model', hub_folder(exported, 'model', short_side))
        theirs = ViTMAEForPreTraining.from_pretrained(Path(folder) / 'model').eval()
    inputs = preprocessor({'inputs': images}, False)['inputs']
    noise = torch.rand(len(images), L, generator=torch.Generator().manual_seed(seed))
    ours = model.reconstruct(inputs, noise)
    logits = theirs(inputs, noise=noise).logits  # B,L,P
    index = ours['ids_hide'][..., None].expand(-1, -1, logits.shape[-1])
    pred = logits.gather(1, index)  # B,L-K,P
    options = {
        'patch_size': encoder.patch_size,
        'mean': preprocessor.mean,
        'std': preprocessor.std,
    }
    here, there = (
        reconstruction_panels(
            inputs,
            {**ours, 'pred': model.target.to_pixels(each, inputs, ours['ids_hide'])},
            **options,
        )
        for each in (ours['pred'], pred)
    )
    panels = [
        replace(one, other=other.reconstruction) for one, other in zip(here, there, strict=True)
    ]
    return panels, float((ours['pred'] - pred).abs().max() / pred.abs().max())


def first_test_images(config: str | Path, count: int) -> Tensor:
    """The first test images of a config, uint8 (B, C, H, W).

    Raises:
        ValueError: the config describes no test.
    """
    loaded = load_config(config)
    if not loaded.get('test_dataloader'):
        raise ValueError(f'{loaded.filename} describes no test: it has no test_dataloader')
    dataset = DATASETS.build(loaded.test_dataloader.dataset)
    return torch.stack([dataset[index]['inputs'] for index in range(count)])
