"""JPEGs decoded, cropped and resized on the model's device: the other half of `EncodedCrop`.

Shapes: B images, C channels, H W pixels, S bytes of all files of a batch.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mae.models.preprocessors.image import ImagePreprocessor
from mae.registry import MODELS
from mae.utils.errors import ConfigError, DataError

try:
    from torchvision.io import ImageReadMode, decode_jpeg
except ImportError:  # deprecated since torchvision 0.29, to be removed
    decode_jpeg = None


_FIELDS = ('encoded', 'sizes', 'crops')


@MODELS.register_module()
class EncodedPreprocessor(ImagePreprocessor):
    """`ImagePreprocessor` for batches of JPEG bytes, which it decodes on its device.

    Takes the arguments of `ImagePreprocessor`, and treats a batch of decoded images, for example
    from the validation loader, in the same way.
    """

    def forward(self, data: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Prepare a batch, see `ImagePreprocessor`.

        Args:
            data: as from `collate_encoded`, or as from `collate`.
            training: mix and erase, if configured.

        Raises:
            ConfigError: torchvision has no decoder.
            DataError: an image cannot be decoded; names the sample.
        """
        if isinstance(data, Mapping) and 'encoded' in data:
            images = decode_crops(data, self.mean.device)
            data = {name: value for name, value in data.items() if name not in _FIELDS}
            data['inputs'] = images
        return super().forward(data, training)


def decode_crops(data: Mapping[str, Tensor], device: torch.device) -> Tensor:
    """Images of a batch, uint8 (B, C, H, W) on `device`.

    On a GPU nvJPEG decodes and the resize is done in floats: pixels may differ from those of the
    CPU by a grey level or two.

    Args:
        data: as from `collate_encoded`, on the CPU: `encoded` uint8 (S,), `sizes` (B,), `crops`
            (B, 7) and `ids` (B,).
        device: decodes, and holds the result.

    Raises:
        ConfigError: torchvision has no decoder.
        DataError: an image cannot be decoded; names the sample.
    """
    if decode_jpeg is None:
        raise ConfigError(
            'this torchvision decodes no JPEGs: use DecodeImage, `collate` and ImagePreprocessor '
            'instead of EncodedCrop, `collate_encoded` and EncodedPreprocessor'
        )
    parts = data['encoded'].split(data['sizes'].tolist())
    crops: list[list[int]] = data['crops'].tolist()
    jpegs = [n for n, crop in enumerate(crops) if crop[2]]
    decoded = dict(zip(jpegs, _decode(parts, jpegs, data['ids'], device), strict=True))
    images = [
        _cut(decoded[n], crop)
        if n in decoded
        else parts[n].view(*crop[5:], -1).permute(2, 0, 1).to(device, non_blocking=True)
        for n, crop in enumerate(crops)
    ]
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def _decode(
    parts: tuple[Tensor, ...], chosen: list[int], ids: Tensor, device: torch.device
) -> list[Tensor]:
    if device.type == 'cuda' and chosen:
        encoded = [parts[n] for n in chosen]
        try:
            found: list[Tensor] = decode_jpeg(encoded, ImageReadMode.RGB, device=device)
        except RuntimeError as error:
            first, last = int(ids[chosen[0]]), int(ids[chosen[-1]])
            raise DataError(
                f'a sample of the batch {first}..{last} cannot be decoded on {device}: {error}'
            ) from error
        return found
    images = []
    for n in chosen:
        try:
            images.append(decode_jpeg(parts[n], ImageReadMode.RGB))
        except RuntimeError as error:
            raise DataError(f'sample {int(ids[n])} cannot be decoded: {error}') from error
    return images


def _cut(image: Tensor, crop: list[int]) -> Tensor:
    """Crop, resize and flip, as `RandomResizedCrop` and `RandomFlip` do."""
    top, left, height, width, flip, *size = crop
    part = image[:, top : top + height, left : left + width][None]
    part = part.contiguous(memory_format=torch.channels_last)
    if part.is_cuda:  # CUDA resizes no uint8 bicubically
        part = interpolate(part.float(), size, mode='bicubic', antialias=True)
        part = part.round().clamp(0, 255).to(torch.uint8)
    else:
        part = interpolate(part, size, mode='bicubic', antialias=True)
    return part[0].flip(-1) if flip else part[0]
