"""Files that the user trusts, by their SHA-256: these alone may run code when they are read."""

import argparse
import hashlib
import re
from collections.abc import Sequence

FLAG = '--trust-checkpoint'

_trusted: set[str] = set()


def trust_checkpoint(sha256: str) -> None:
    """Allow the checkpoint with this hash to run the code in its pickle, in this process.

    Args:
        sha256: 64 hexadecimal digits, of the whole file.

    Raises:
        ValueError: that is no SHA-256.
    """
    if not re.fullmatch('[0-9a-f]{64}', sha256.lower()):
        raise ValueError(
            f'trust_checkpoint takes the 64 hexadecimal digits of a SHA-256, not {sha256!r}'
        )
    _trusted.add(sha256.lower())


def trusts_any() -> bool:
    """Whether any file is trusted."""
    return bool(_trusted)


def is_trusted(content: bytes) -> bool:
    """Whether the user trusts a file of this content."""
    return hashlib.sha256(content).hexdigest() in _trusted


class _Trust(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(values, Sequence)
        try:
            trust_checkpoint(str(values))
        except ValueError as error:
            parser.error(str(error))
        setattr(namespace, self.dest, values)


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--trust-checkpoint SHA256`, which takes effect as it is parsed."""
    parser.add_argument(
        FLAG,
        action=_Trust,
        metavar='SHA256',
        help='let the checkpoint with this hash run code as it is read (see SECURITY.md)',
    )
