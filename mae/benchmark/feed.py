"""What every loader of a comparison is to read, and how."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mae.benchmark.job import Job
from mae.datasets import ImageFolder


@dataclass(frozen=True)
class Feed:
    """A folder of images and the options of the loaders.

    Attributes:
        root: folder with one folder for each class.
        config: of our side, for the crop.
        batch_size: images of a batch.
        workers: processes that read.
        batches: of a pass over the data.
        repeats: times that an image is read in a pass.
    """

    root: Path
    config: Config
    batch_size: int
    workers: int
    batches: int
    repeats: int

    @classmethod
    def of(cls, root: Path, job: Job, workers: int, batches: int) -> 'Feed':
        """Repeat the images until there are at least so many batches."""
        number = len(ImageFolder(str(root)))
        repeats = -(-batches * job.batch_size // number)
        fitting = number * repeats // job.batch_size
        return cls(root, job.config, job.batch_size, workers, fitting, repeats)

    @property
    def crop(self) -> Any:
        """The options of our random crop: `size` and `scale`."""
        steps = self.config.train_dataloader.dataset.pipeline
        for step in steps:
            if step['type'].endswith('RandomResizedCrop'):
                return step
        raise ValueError(
            f'{self.config.filename}: no random resized crop in train_dataloader.dataset.pipeline, '
            'so the peers cannot be given the same work'
        )

    @property
    def indices(self) -> list[int]:
        """Of the images of a pass, for those who do not repeat by themselves."""
        number = len(ImageFolder(str(self.root)))
        return [index % number for index in range(self.batches * self.batch_size)]

    @property
    def options(self) -> dict[str, Any]:
        """Of PyTorch's loader; pinning is left out, as it is no work of a worker."""
        return {
            'batch_size': self.batch_size,
            'shuffle': True,
            'num_workers': self.workers,
            'persistent_workers': self.workers > 0,
        }
