"""torchvision: `ImageFolder`, Pillow, and the transforms of most training scripts."""

from typing import Any

from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from mae.benchmark.inputs import LoaderInputs

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def loader(inputs: LoaderInputs) -> DataLoader[Any]:
    """Bicubic crop, flip, tensor, normalise, all on Pillow images in the workers."""
    crop = inputs.crop
    pipeline = transforms.Compose(
        [
            transforms.RandomResizedCrop(
                crop['size'], crop['scale'], interpolation=transforms.InterpolationMode.BICUBIC
            ),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(_MEAN, _STD),
        ]
    )
    images = ImageFolder(str(inputs.root), pipeline)
    return DataLoader(Subset(images, inputs.indices), **inputs.options)
