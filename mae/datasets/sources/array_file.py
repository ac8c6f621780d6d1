"""Named arrays in one file: written whole or not at all, read by memory mapping, never unpickled.

Layout: magic, length and CRC-32 of the header (two little-endian uint32), the header (JSON), the
arrays, each from a multiple of 64 bytes on.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.utils.errors import DataError
from mae.utils.files import whole_file

Arrays = dict[str, NDArray[Any]]

_MAGIC = b'MAEarr01'
_START = struct.Struct('<8sII')
_ALIGNMENT = 64
_DTYPES = ('uint8', 'uint32', 'int32', 'int64')
_CHUNK = 1 << 26


def write_arrays(path: Path, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write one-dimensional arrays and a JSON value; a reader sees the old file or the new one.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    entries = [
        [name, str(array.dtype), len(array), zlib.crc32(_bytes(array))]
        for name, array in arrays.items()
    ]
    header = json.dumps({'meta': meta, 'arrays': entries}).encode()
    with whole_file(path) as file:
        file.write(_START.pack(_MAGIC, len(header), zlib.crc32(header)) + header)
        for array in arrays.values():
            file.write(b'\0' * (-file.tell() % _ALIGNMENT))
            file.write(_bytes(array))


def read_arrays(path: Path) -> tuple[dict[str, Any], Arrays]:
    """The JSON value and the arrays, mapped into memory and read-only.

    Raises:
        DataError: the file is of another kind, cut short or changed.
        OSError: it cannot be opened.
    """
    size = path.stat().st_size
    data = np.asarray(np.memmap(path, np.uint8, 'r') if size else np.empty(0, np.uint8))
    header, end = _read_header(data, path)
    arrays = {}
    for name, dtype, length, checksum in header['arrays']:
        start = end + -end % _ALIGNMENT
        end = start + length * np.dtype(dtype).itemsize
        if end > len(data):
            raise DataError(f'{path}: cut short: {len(data)} bytes of at least {end}')
        if _checksum(data[start:end]) != checksum:
            raise DataError(f'{path}: damaged: the checksum of {name!r} is another')
        arrays[name] = data[start:end].view(dtype)
    if end != len(data):
        raise DataError(f'{path}: {len(data) - end} bytes too long')
    return header['meta'], arrays


def _read_header(data: NDArray[np.uint8], path: Path) -> tuple[dict[str, Any], int]:
    """The header, as it was written, and where it ends."""
    if len(data) < _START.size or bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise DataError(f'{path}: not written by this toolbox, or by another version of it')
    _, length, checksum = _START.unpack(bytes(data[: _START.size]))
    end = _START.size + length
    text = bytes(data[_START.size : end])
    if zlib.crc32(text) != checksum:
        raise DataError(f'{path}: damaged: the checksum of its header is another')
    header: dict[str, Any] = json.loads(text)
    if any(dtype not in _DTYPES for _, dtype, *_ in header['arrays']):
        raise DataError(f'{path}: holds arrays of unknown types')
    return header, end


def _checksum(data: NDArray[np.uint8]) -> int:
    """CRC-32, computed in chunks of 64 MiB."""
    checksum = 0
    for start in range(0, len(data), _CHUNK):
        checksum = zlib.crc32(data[start : start + _CHUNK].data, checksum)
    return checksum


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).data
