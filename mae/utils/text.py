"""Text to read and to print: list files in any encoding, file names, messages, sizes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from mae.utils.errors import DataError

_BYTE_ORDER_MARKS = {b'\xef\xbb\xbf': 'utf-8-sig', b'\xff\xfe': 'utf-16', b'\xfe\xff': 'utf-16'}
# Not NBSP and its like, which `str.strip` takes off too: they may belong to a file's name.
BLANKS = ' \t\r\n\v\f'
_UNITS = (('GiB', 30), ('MiB', 20), ('KiB', 10))


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of a text file, one at a time.

    UTF-8, or UTF-16 with a byte-order mark; a mark is no part of the first line. Lines end in LF,
    CRLF or CR. Bytes that are no UTF-8 stay as they are (`surrogateescape`), because a file's name
    may contain any.

    Raises:
        DataError: no text in such an encoding; names the line.
        OSError: it cannot be read.
    """
    with path.open('rb') as file:
        start = file.read(3)
    encoding = next((e for mark, e in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), 'utf-8')
    errors = 'strict' if encoding == 'utf-16' else 'surrogateescape'
    number = 0
    try:
        with path.open(encoding=encoding, errors=errors) as lines:
            for number, line in enumerate(lines, start=1):
                if '\0' in line:
                    raise DataError(
                        f'{path}:{number}: a zero byte: no text, or UTF-16 without a byte-order '
                        'mark; save it as UTF-8'
                    )
                yield number, line.removesuffix('\n')
    except UnicodeError as error:
        raise DataError(f'{path}:{number + 1}: damaged UTF-16; save it as UTF-8') from error


def is_utf8(text: str) -> bool:
    """False where bytes that are no UTF-8 were read into the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """The text for a log or a terminal, where bytes that are no UTF-8 cannot be encoded."""
    return text.encode(errors='backslashreplace').decode()


def counted(number: int, what: str, plural: str = '') -> str:
    """A number and what it counts: '1 class', '2,000 classes'.

    Args:
        number: how many.
        what: the word for one.
        plural: the word for several; '' adds an s.
    """
    return f'{number:,} {what if number == 1 else plural or what + "s"}'


def first_difference(one: Mapping[str, object], other: Mapping[str, object]) -> str:
    """The first key, in the order of `one`, whose values differ; there must be such a key."""
    return next(key for key in {**one, **other} if one.get(key) != other.get(key))


def first_line(error: Exception) -> str:
    """The first line of a message, or the error's name where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def one_line(error: BaseException) -> str:
    """All of a message without line breaks."""
    return ' '.join(str(error).split())


def readable_size(number: float) -> str:
    """Bytes in the unit that gives a number from 1 on, such as 1.3 GiB."""
    for unit, bits in _UNITS:
        if number >= 1 << bits:
            return f'{number / (1 << bits):,.1f} {unit}'
    return f'{number:.0f} bytes'
