"""One Arrow or Parquet file, in the parts in which it is read."""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mae.utils.errors import DataError


class Table(Protocol):
    """A file with a column of images and, maybe, one of labels."""

    num_parts: int

    def num_rows(self, part: int) -> int:
        """Rows of a part."""

    def images(self, part: int) -> Any:
        """Arrow array of the encoded images of a part."""

    def labels(self) -> NDArray[Any]:
        """Of all rows; -1 where there are none."""

    def class_names(self) -> list[str] | None:
        """As `datasets` noted them in the file."""


def open_table(path: Path, image: str, label: str | None) -> Table:
    """Open a file; its rows are not read.

    Raises:
        DataError: not such a file, or without these columns; names it.
    """
    import pyarrow as pa

    kind = _Parquet if path.suffix == '.parquet' else _Arrow
    try:
        table = kind(path, image, label)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f'{path}: not a {path.suffix[1:]} file that can be read: {reason}'
        ) from error
    for column in filter(None, (image, label)):
        if column not in table.schema.names:
            raise DataError(f'{path}: no column {column!r} among {", ".join(table.schema.names)}')
    return table


class _File:
    schema: Any
    num_parts: int

    def __init__(self, path: Path, image: str, label: str | None) -> None:
        self.path, self.image, self.label = path, image, label

    def class_names(self) -> list[str] | None:
        """As `datasets` noted them in the file."""
        noted = (self.schema.metadata or {}).get(b'huggingface')
        if noted is None or self.label is None:
            return None
        feature = json.loads(noted).get('info', {}).get('features', {}).get(self.label, {})
        names: list[str] | None = feature.get('names')
        return names

    def _bytes_of(self, column: Any) -> Any:
        import pyarrow as pa

        if pa.types.is_struct(column.type):
            column = column.field('bytes')
        if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
            raise DataError(f'{self.path}: column {self.image!r} holds {column.type}, not bytes')
        return column

    def _numbers_of(self, column: Any) -> NDArray[Any]:
        import pyarrow as pa

        if not pa.types.is_integer(column.type):
            raise DataError(f'{self.path}: column {self.label!r} holds {column.type}, not numbers')
        labels: NDArray[Any] = column.fill_null(-1).to_numpy()
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
        """Of all rows."""
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
        table = self._file.read_row_group(part, columns=[self.image], use_threads=False)
        return self._bytes_of(table.column(self.image).combine_chunks())

    def labels(self) -> NDArray[Any]:
        """Of all rows; only their column is read."""
        if self.label is None:
            return np.full(self._file.metadata.num_rows, -1)
        table = self._file.read(columns=[self.label], use_threads=False)
        return self._numbers_of(table.column(self.label))
