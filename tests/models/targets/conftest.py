from types import SimpleNamespace

import pytest
import torch

from mae.models.layers.patches import patchify


@pytest.fixture
def ask():
    """ask(target, images, patch_size, ids): the target of these patches of each image."""

    def call(target, images, patch_size, ids=None):
        patches = patchify(images, patch_size)
        if ids is None:
            ids = torch.arange(patches.shape[1]).expand(len(images), -1)
        return target(images, patches, SimpleNamespace(ids_predict=ids))

    return call
