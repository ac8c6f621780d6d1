"""Reading every sample of a dataset once, in parallel, to find those that cannot be read."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch.utils.data import DataLoader, Dataset

from mae.datasets.seeded import SeededDataset
from mae.utils.errors import DataError

_CHUNK = 16  # samples that a worker reads before it reports


@dataclass(frozen=True)
class Checked:
    """The outcome for one sample: `reason` is why it cannot be read, None if it can."""

    path: str
    reason: str | None


class _Checks(Dataset[Checked]):
    def __init__(self, dataset: SeededDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Checked:
        path = self.dataset.name(index)
        check = getattr(self.dataset.source, 'check', None)
        try:
            if check is not None:
                check(index)
            self.dataset[index]
        except DataError as error:
            return Checked(path, str(error).removeprefix(f'{path}: '))
        return Checked(path, None)


def verify(dataset: SeededDataset, num_workers: int = 0) -> Iterator[Checked]:
    """Puts each sample through the whole pipeline, as training would, in the dataset's order.

    Of packed images it also compares the checksums: decoding does not notice a changed pixel.

    Args:
        dataset: maps a sample id to a sample, such as `SeededDataset`.
        num_workers: processes, at least 0; 0 reads in this one.

    Raises:
        DataError: a worker died: a decoder crashed, or memory ran out.
    """
    # A plain list is the batch: a worker sends text only, no images.
    loader = DataLoader(
        _Checks(dataset), batch_size=_CHUNK, num_workers=num_workers, collate_fn=list
    )
    done = 0
    try:
        for batch in loader:
            done += len(batch)
            yield from batch
    except RuntimeError as error:
        if 'DataLoader worker' not in str(error):
            raise
        raise DataError(
            f'a worker died, at or soon after {dataset.name(done)}: a decoder crashed, or memory '
            'ran out; try fewer workers'
        ) from error
