"""Which anchors and proposals a loss is computed of, drawn by the key of each image.

Shapes: B images, A anchors or proposals of an image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from mae.utils.hashing import key_noise


class KeyedSampler(BalancedPositiveNegativeSampler):
    """torchvision's sampler, whose choice follows from the image's key.

    So an image gives the same loss whichever process and micro-batch it is in. Without keys it
    draws from torch's generator, as torchvision does.

    Args:
        samples: of an image.
        positive_fraction: share of the samples that are objects, at most.
        stream: tells the random numbers of this sampler from those of others.
    """

    def __init__(self, samples: int, positive_fraction: float, stream: int) -> None:
        super().__init__(samples, positive_fraction)
        self.stream = stream
        self.keys: Tensor | None = None  # int64 (B,), set before each batch

    def __call__(self, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Flags (A,) of each image: the samples that are objects, and those that are none.

        Args:
            labels: (A,) of each image: above 0 an object, 0 none, below 0 neither.
        """
        if self.keys is None:
            found: tuple[list[Tensor], list[Tensor]] = super().__call__(labels)
            return found
        pairs = [
            self._draw(some, key) for some, key in zip(labels, self.keys.split(1), strict=True)
        ]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def _draw(self, labels: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        noise = key_noise(key.to(labels.device) ^ self.stream, len(labels))[0]
        most = int(self.batch_size_per_image * self.positive_fraction)
        objects = _least(noise, labels >= 1, most)
        others = _least(noise, labels == 0, self.batch_size_per_image - len(objects))
        return _flags(objects, labels), _flags(others, labels)


def image_weights(counts: Sequence[int], like: Tensor) -> Tensor:
    """Weight of each sample, image after image: a sum becomes the mean of the images.

    Within an image all samples count alike, and so do all images of a batch, those without a
    sample too. So the loss does not depend on how a batch is cut into processes, and is that of
    the recipes, which have one image on each.

    Args:
        counts: samples of each image.
        like: a tensor of the device and type wanted.
    """
    weights = [like.new_full((n,), 1 / (n * len(counts))) for n in counts if n]
    return torch.cat(weights) if weights else like.new_zeros(0)


def _least(noise: Tensor, candidates: Tensor, number: int) -> Tensor:
    """Numbers of the candidates with the least noise, `number` of them at most."""
    places = candidates.nonzero().flatten()
    if number < len(places):
        places = places[noise[places].topk(number, largest=False).indices]
    return places


def _flags(places: Tensor, like: Tensor) -> Tensor:
    """Whether a number is among `places`, bool (A,)."""
    return torch.zeros_like(like, dtype=torch.bool).index_fill_(0, places, True)
