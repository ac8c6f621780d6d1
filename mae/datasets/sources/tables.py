"""One Arrow or Parquet file, in the parts in which it is read."""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mae.utils.errors import DataError
from mae.utils.text import first_line

# Larger numbers count something else than classes, whose names would fill the memory.
MOST_CLASSES = 10_000_000


class ImageTable(Protocol):
    """A file with a column of images and, maybe, one of labels."""

    num_parts: int

    def num_rows(self, part: int) -> int:
        """Rows of a part."""

    def images(self, part: int) -> Any:
        """Arrow array of the encoded images of a part."""

    def labels(self) -> NDArray[Any]:
        """Labels of all rows; -1 for a row without one."""

    def class_names(self) -> list[str] | None:
        """Class names that `datasets` stored in the file; None without."""


def open_table(path: Path, image: str, label: str | None) -> ImageTable:
    """Open a file; its rows are not read.

    Raises:
        DataError: not such a file, or without these columns; names it.
    """
    import pyarrow as pa

    kind = _Parquet if path.suffix == '.parquet' else _Arrow
    try:
        table = kind(path, image, label)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f'{path}: not a {path.suffix[1:]} file that can be read: {first_line(error)}'
        ) from error
    for column in filter(None, (image, label)):
        if column not in table.schema.names:
            raise DataError(f'{path}: no column {column!r} among {", ".join(table.schema.names)}')
    kind = table.schema.field(image).type
    if not _holds_bytes(kind):
        raise DataError(f'{path}: column {image!r} holds {kind}, not bytes')
    if label is not None and not pa.types.is_integer(kind := table.schema.field(label).type):
        raise DataError(f'{path}: column {label!r} holds {kind}, not numbers')
    return table


def _holds_bytes(kind: Any) -> bool:
    """Bytes, or a struct with `bytes` as `datasets` writes them."""
    import pyarrow.types as of

    if of.is_struct(kind):
        index = kind.get_field_index('bytes')
        return index >= 0 and not of.is_struct(kind[index].type) and _holds_bytes(kind[index].type)
    return bool(of.is_binary(kind) or of.is_large_binary(kind) or of.is_binary_view(kind))


class _File:
    schema: Any
    num_parts: int

    def __init__(self, path: Path, image: str, label: str | None) -> None:
        self.path, self.image, self.label = path, image, label

    def class_names(self) -> list[str] | None:
        """Class names that `datasets` stored in the file; None without."""
        noted = (self.schema.metadata or {}).get(b'huggingface')
        if noted is None or self.label is None:
            return None
        try:
            names = json.loads(noted)['info']['features'][self.label]['names']
        except (ValueError, LookupError, TypeError):  # other data, or written by another library
            return None
        return [str(name) for name in names] if isinstance(names, list) else None

    def _bytes_of(self, column: Any) -> Any:
        import pyarrow as pa

        return column.field('bytes') if pa.types.is_struct(column.type) else column

    def _numbers_of(self, column: Any) -> NDArray[Any]:
        import pyarrow.compute as pc

        low, high = pc.min_max(column).as_py().values()  # None where all are missing
        if low is not None and not -1 <= low <= high < MOST_CLASSES:
            raise DataError(
                f'{self.path}: column {self.label!r} holds {low}..{high}: labels count classes '
                f'from 0, up to {MOST_CLASSES - 1}; -1 is none'
            )
        labels: NDArray[Any] = column.cast('int64').fill_null(-1).to_numpy()
        return labels


class _Arrow(_File):
    """Arrow IPC, stream or file: mapped into memory, so that a row is found without reading."""

    def __init__(self, path: Path, image: str, label: str | None) -> None:
        import pyarrow as pa

        super().__init__(path, image, label)
        mapped = pa.memory_map(str(path))
        try:
            reader = pa.ipc.open_stream(mapped)
            self._batches = list(reader)
        except pa.ArrowInvalid:
            mapped.seek(0)
            reader = pa.ipc.open_file(mapped)
            self._batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]
        self.schema = reader.schema
        self.num_parts = len(self._batches)

    def num_rows(self, part: int) -> int:
        """Rows of a record batch."""
        rows: int = self._batches[part].num_rows
        return rows

    def images(self, part: int) -> Any:
        """Encoded images of a record batch, not copied."""
        return self._bytes_of(self._batches[part].column(self.image))

    def labels(self) -> NDArray[Any]:
        """Labels of all rows."""
        if self.label is None:
            return np.full(sum(batch.num_rows for batch in self._batches), -1)
        found = [self._numbers_of(batch.column(self.label)) for batch in self._batches]
        return np.concatenate([np.empty(0, np.int64), *found])


class _Parquet(_File):
    """Parquet: a part is a row group."""

    def __init__(self, path: Path, image: str, label: str | None) -> None:
        import pyarrow.parquet as pq

        super().__init__(path, image, label)
        self._file = pq.ParquetFile(path)
        self.schema = self._file.schema_arrow
        self.num_parts = self._file.num_row_groups

    def num_rows(self, part: int) -> int:
        """Rows of a row group."""
        rows: int = self._file.metadata.row_group(part).num_rows
        return rows

    def images(self, part: int) -> Any:
        """Encoded images of a row group, read whole."""
        import pyarrow as pa

        try:
            table = self._file.read_row_group(part, columns=[self.image], use_threads=False)
            column = table.column(self.image).combine_chunks()
        except (pa.ArrowException, OSError) as error:  # damaged, or more than 2 GiB in a group
            raise DataError(
                f'{self.path}: row group {part} of {self.num_rows(part)} rows cannot be read: '
                f'{first_line(error)}'
            ) from error
        return self._bytes_of(column)

    def labels(self) -> NDArray[Any]:
        """Labels of all rows; only their column is read."""
        if self.label is None:
            return np.full(self._file.metadata.num_rows, -1)
        table = self._file.read(columns=[self.label], use_threads=False)
        return self._numbers_of(table.column(self.label))
