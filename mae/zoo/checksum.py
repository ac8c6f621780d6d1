"""What a file must hash to: the first digits, or all, of its SHA-256 or MD5."""

import re
from dataclasses import dataclass
from pathlib import Path

from mae.utils.digest import file_digest
from mae.utils.errors import DownloadError

_LENGTH = {'sha256': 64, 'md5': 32}
_HASHED = re.compile(r'.*-([0-9a-f]{8,64})\.(pth|pth\.tar|pt|bin|ckpt|safetensors)', re.S)


@dataclass(frozen=True)
class Checksum:
    """The published digits.

    Attributes:
        algorithm: 'sha256' or 'md5'.
        digits: the first ones, or all, in lower case.
    """

    algorithm: str
    digits: str

    @property
    def is_weak(self) -> bool:
        """Whether it shows damage but no forgery: anything but a whole SHA-256."""
        return (self.algorithm, len(self.digits)) != ('sha256', 64)

    @property
    def label(self) -> str:
        """Name of the algorithm for messages, such as SHA-256."""
        return {'sha256': 'SHA-256', 'md5': 'MD5'}[self.algorithm]

    def __str__(self) -> str:
        verb = 'is' if len(self.digits) == _LENGTH[self.algorithm] else 'begins with'
        return f'{self.label} {verb} {self.digits}'


def parse_checksum(text: str) -> Checksum:
    """Read 'sha256:85be947b'.

    Raises:
        DownloadError: another algorithm, or not 6 or more hexadecimal digits.
    """
    algorithm, _, digits = text.lower().partition(':')
    longest = _LENGTH.get(algorithm, 0)
    if not re.fullmatch(r'[0-9a-f]{6,}', digits) or len(digits) > longest:
        raise DownloadError(f'a checksum is sha256: or md5: and at least 6 digits, not {text!r}')
    return Checksum(algorithm, digits)


def checksum_in(file: str) -> Checksum | None:
    """The start of the SHA-256 in a file name such as `vit_20220223-85be947b.pth`.

    Letters may be in upper or lower case; a query that a client saved behind `?` does not count,
    and neither does a date or a number with leading zeros, such as a step.
    """
    match = _HASHED.fullmatch(file.lower().partition('?')[0])
    if match is None or re.fullmatch(r'(19|20)\d{6}|0\d+', match[1]):
        return None
    return Checksum('sha256', match[1])


def verify_checksum(path: Path, checksum: Checksum) -> None:
    """Compare a file with what was published.

    Raises:
        DownloadError: it is another file.
    """
    found = file_digest(path, checksum.algorithm)
    if not found.startswith(checksum.digits):
        shown = Checksum(checksum.algorithm, found[: len(checksum.digits)])
        raise DownloadError(f'{path} is not what was published: its {shown}, not {checksum.digits}')
