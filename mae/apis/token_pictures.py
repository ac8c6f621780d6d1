"""Pictures of what the tokens of an encoder do: where they look, and which are alike.

Shapes: M images, C channels, H W pixels, h w grid, L = h*w patches, N = prefix + L tokens,
A heads of a block, D width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from mae.apis.features import FeatureExtractor
from mae.apis.images import MOST_IN_PICTURE, Pictures, name_images
from mae.apis.inference import Failure, report_failures
from mae.apis.zoo import LoadedModel
from mae.models.layers.attention import Attention
from mae.models.layers.attention_maps import attention_rollout, attention_weights
from mae.utils.errors import DataError, NonFiniteError
from mae.visualization.captions import caption_of
from mae.visualization.panels import as_pixels
from mae.visualization.sheets import Cell, heat_over, picture_sheet

_AT_ONCE = 16  # images encoded together


@torch.inference_mode()
def draw_attention(
    model: Any, images: Pictures, *, block: int = -1, heads: bool = False
) -> Image.Image:
    """Where the class token looks: a row for each image.

    Beside it stand the attention of one block, averaged over the heads, and the rollout over all
    blocks up to that one. An encoder without a class token shows the mean of its patches.

    Args:
        model: from `get_model` or `init_model`, and files are read with 8 bits; or from
            `mae.apis.zoo.load_model`, and they are read with the bits of its config.
        images: paths, folders, arrays and more, see `mae.apis.images.name_images`.
        block: number from 0, or from the last one, which is -1.
        heads: also each head of the block alone.

    Raises:
        DataError: no image can be read, or they are more than 64.
        NonFiniteError: the weights are NaN.
        ValueError: there is no such block, its blocks attend in windows or with relative
            positions, or the images have neither 1 nor 3 channels.
    """
    extract = feature_extractor(model)
    model, encoder = extract.model, extract.model.encoder
    last = block_number(encoder, block)
    names, pixels = read_all(extract, images)
    rows = []
    for number, image in enumerate(pixels):
        shown = as_pixels(image)
        weights = attention_of(model, image[None], last)
        shares = [weights[-1].mean(1), attention_rollout(weights)]
        if heads:
            shares += weights[-1].unbind(1)
        maps = [token_map(each, encoder)[0] for each in shares]
        cells = [Cell(heat_over(shown, each.numpy())) for each in maps]
        rows.append([Cell(shown, caption_of(names[number])), *cells])
    titles = ['image', f'block {last}', f'rollout to block {last}']
    if heads:
        titles += [f'head {head}' for head in range(len(rows[0]) - len(titles))]
    who = 'class token' if encoder.num_prefix_tokens else 'mean of all patches'
    note = f'weights of the {who}; each map from its lowest (black) to its highest value (yellow)'
    return picture_sheet(rows, titles, note=note)


def attention_of(model: Any, images: Tensor, block: int) -> list[Tensor]:
    """Weights (M, A, N, N) of the blocks up to one, in float32 on the CPU.

    The model runs as it always does; the weights are computed again from the inputs of its layers.

    Args:
        model: in evaluation mode.
        images: uint8 or uint16 (M, C, H, W).
        block: from 0.

    Raises:
        NonFiniteError: the weights are NaN.
        ValueError: a block attends in windows or with relative positions.
    """
    found: list[Tensor] = []

    def note(attention: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(attention, Attention)
        found.append(attention_weights(attention, inputs[0]).float().cpu())

    with torch.no_grad(), _hooked(model.encoder, block, note):
        inputs = model.data_preprocessor({'inputs': images}, False)['inputs']
        model.extract_features(inputs, 'tokens')
    if not found[-1].isfinite().all():
        raise NonFiniteError('attention is NaN or infinite: the weights are broken')
    return found


def token_map(weights: Tensor, encoder: Any) -> Tensor:
    """Of rows of tokens (M, N, N), what the class token gives each patch: (M, h, w).

    Without one, the mean of what the patches give.
    """
    prefix = encoder.num_prefix_tokens
    row = weights[:, 0] if prefix else weights.mean(1)
    found: Tensor = row[:, prefix:].unflatten(1, encoder.grid_size)
    return found


def block_number(encoder: Any, block: int) -> int:
    """The number from 0 of a block.

    Raises:
        ValueError: the encoder has no such block.
    """
    depth = len(encoder.blocks)
    if not isinstance(block, int) or not -depth <= block < depth:
        raise ValueError(f'the encoder has blocks 0 to {depth - 1}, and no block {block!r}')
    return block % depth


@contextmanager
def _hooked(encoder: Any, block: int, note: Any) -> Iterator[None]:
    """Call `note` with the attention layer and its inputs, for each block up to one."""
    chosen = encoder.blocks[: block + 1]
    for number, each in enumerate(chosen):
        if getattr(each, 'window_size', 0) or getattr(each, 'rel_pos', None) is not None:
            raise ValueError(
                f'block {number} attends in windows or with relative positions, of which there are '
                'no maps: take the pre-trained encoder'
            )
    handles = [each.attn.register_forward_pre_hook(note) for each in chosen]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def draw_pca(model: Any, images: Pictures) -> Image.Image:
    """Patch tokens as colours: beside each image its patches, alike in colour where alike.

    Red, green and blue are the first three principal components of the patch tokens of all images
    together, each from its 1st to its 99th percentile.

    Args:
        model: from `get_model` or `init_model`, and files are read with 8 bits; or from
            `mae.apis.zoo.load_model`, and they are read with the bits of its config.
        images: paths, folders, arrays and more, see `mae.apis.images.name_images`.

    Raises:
        DataError: no image can be read, or they are more than 64.
        ImportError: scikit-learn is not installed.
        NonFiniteError: tokens are NaN or infinite.
        ValueError: the tokens are narrower than three, there are not more than three patches, or
            the images have neither 1 nor 3 channels.
    """
    need_library('sklearn', 'scikit-learn', 'a principal component analysis')
    extract = feature_extractor(model)
    model, prefix = extract.model, extract.model.encoder.num_prefix_tokens
    names, pixels = read_all(extract, images)
    shown = [as_pixels(image) for image in pixels]
    tokens = [
        model.extract_features(
            model.data_preprocessor({'inputs': part}, False)['inputs'], 'tokens'
        )[:, prefix:]
        for part in pixels.split(_AT_ONCE)
    ]
    components = principal_components(torch.cat(tokens).float().cpu())
    colours = as_colours(components).reshape(len(shown), *model.encoder.grid_size, 3)
    rows = [
        [Cell(image, caption_of(name)), Cell(patches)]
        for name, image, patches in zip(names, shown, colours, strict=True)
    ]
    return picture_sheet(rows, ['image', 'patch tokens'])


def need_library(module: str, package: str, what: str) -> None:
    """Refuse what takes a library that training does without, before work is done for it.

    Raises:
        ImportError: it is not installed; says how it is.
    """
    if find_spec(module) is None:
        raise ImportError(f'{what} needs {package}, which is not there: pip install {package}')


def principal_components(tokens: Tensor) -> NDArray[np.float64]:
    """The first three principal components of all tokens together, (M, L, 3).

    Args:
        tokens: (M, L, D).

    Raises:
        NonFiniteError: tokens are NaN or infinite.
        ValueError: D is below 3, or there are not more than three tokens.
    """
    M, L, D = tokens.shape
    if D < 3 or M * L <= 3:
        raise ValueError(
            f'three principal components need tokens at least 3 wide, and more than 3 of them: '
            f'here are {M * L} of width {D}'
        )
    if not tokens.isfinite().all():
        raise NonFiniteError('the tokens are NaN or infinite: the weights are broken')
    from sklearn.decomposition import PCA

    rows = tokens.double().flatten(0, 1).numpy()
    found = PCA(3, svd_solver='covariance_eigh').fit_transform(rows)
    return np.asarray(found, np.float64).reshape(M, L, 3)


def as_colours(components: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Each of the last axis from its 1st to its 99th percentile: uint8 of the same shape."""
    low, high = np.percentile(components.reshape(-1, components.shape[-1]), [1, 99], axis=0)
    level = (components - low) / np.maximum(high - low, np.finfo(np.float64).tiny)
    return np.asarray((255 * level.clip(0, 1)).round(), np.uint8)


def read_all(extract: FeatureExtractor, images: Pictures) -> tuple[list[str], Tensor]:
    """Names and pixels (M, C, H, W) of all images that can be read, cut as in evaluation.

    What cannot be read is named on stderr.

    Raises:
        DataError: none can be read, or they are too many for one picture.
    """
    pictures = [picture for _, picture in name_images(images)]
    if len(pictures) > MOST_IN_PICTURE:
        raise DataError(
            f'{len(pictures)} images are too many for one picture: give at most {MOST_IN_PICTURE}'
        )
    failed: list[Failure] = []
    names: list[str] = []
    pixels: list[Tensor] = []
    for batch, read in extract.read_batches(pictures, extract.read, failed):
        names += batch
        pixels += read
    report_failures(len(names), failed)
    return names, torch.stack(pixels)


def feature_extractor(model: Any, **options: Any) -> FeatureExtractor:
    """Of a model where it is, in float32.

    Raises:
        ValueError: no model of this toolbox, or a wrong option.
    """
    module = model.model if isinstance(model, LoadedModel) else model
    if not isinstance(module, nn.Module):
        raise ValueError(
            f'give a model, from get_model or init_model, not a {type(model).__name__}'
        )
    device = next((each.device for each in module.parameters()), torch.device('cpu'))
    return FeatureExtractor(model, device=device, amp=None, **options)
