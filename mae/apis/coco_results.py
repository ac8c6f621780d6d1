"""Ids of a file in COCO's results layout, which pycocotools and the benchmark's server read."""

from collections.abc import Sequence
from pathlib import Path

from mae.datasets.sources.coco import read_objects
from mae.utils.errors import DataError


class CocoIds:
    """Numbers of images and categories in a results file.

    Without an annotation file images are counted from 1 in their order, and the category is the
    class's number from 1.

    Args:
        classes: names in the order of the labels.
        annotations: COCO annotation file, whose ids are taken: images by the name of their file,
            categories by their name.

    Raises:
        DataError: no such file, no annotation file, or it lacks a class.
    """

    def __init__(self, classes: Sequence[str], annotations: Path | None = None) -> None:
        self.file = annotations
        self._seen: dict[str, int] = {}
        self._categories = list(range(1, len(classes) + 1))
        if annotations is None:
            return
        images, categories = _read(annotations)
        self._images = images
        missing = [name for name in classes if name not in categories]
        if missing:
            raise DataError(
                f'{annotations} has no category {missing[0]!r}, a class of the model '
                f'({len(missing)} of {len(classes)} are missing); its first are '
                f'{", ".join(list(categories)[:3])}'
            )
        self._categories = [categories[name] for name in classes]

    def image(self, name: str) -> int:
        """Number of an image.

        Raises:
            DataError: the annotation file does not list it.
        """
        if self.file is None:
            return self._seen.setdefault(name, len(self._seen) + 1)
        parts = Path(name).parts
        for start in range(len(parts)):
            found = self._images.get('/'.join(parts[start:]))
            if found is not None:
                return found
        raise DataError(f'{name}: not among the {len(self._images)} images of {self.file}')

    def category(self, label: int) -> int:
        """Number of the category of a class."""
        return self._categories[label]


def _read(file: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Ids of images by file name and of categories by name."""
    content = read_objects(str(file), ('images', 'categories'))
    try:
        images = {str(image['file_name']): int(image['id']) for image in content['images']}
        categories = {str(each['name']): int(each['id']) for each in content['categories']}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{file}: its images need file_name and id, and its categories name and id'
        ) from error
    return images, categories
