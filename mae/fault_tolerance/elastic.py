"""The starts of an elastic run: whether an earlier one has saved, and how many came to nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mae.utils.errors import CheckpointError

# Starts of an elastic run in a row that may fail without a new checkpoint.
RESTARTS_IN_VAIN = 3


@dataclass(frozen=True)
class ElasticStart:
    """One start of the processes of an elastic run, and what the starts before it came to.

    Attributes:
        run_id: name of the run.
        begun_with: name and hash of the newest checkpoint of the work dir at the first start; None
            without one.
        newest: likewise at this start.
        restarts_in_vain: starts in a row that followed a failure and found no newer checkpoint.
        last_failure: why the start before failed, if it did.
    """

    run_id: str
    begun_with: str | None
    newest: str | None
    restarts_in_vain: int = 0
    last_failure: str | None = None

    @classmethod
    def after(cls, earlier: Mapping[str, Any], run_id: str, newest: str | None) -> 'ElasticStart':
        """The start that follows the one of an earlier `run.json`.

        Args:
            earlier: content of the file, {} if there is none.
            newest: name and hash of the newest checkpoint, None without one.
        """
        before = earlier.get('elastic')
        if not isinstance(before, dict) or before.get('run_id') != run_id:
            return cls(run_id, newest, newest)
        in_vain = before.get('restarts_in_vain')
        in_vain = in_vain if isinstance(in_vain, int) else 0
        if newest != before.get('newest') or in_vain > RESTARTS_IN_VAIN:  # the user tries again
            in_vain = 0
        elif earlier.get('state') != 'stopped':  # as when another node joins
            in_vain += 1
        reason = earlier.get('reason') or 'it was killed'
        return cls(run_id, before.get('begun_with'), newest, in_vain, str(reason))

    @property
    def has_saved(self) -> bool:
        """Whether an earlier start of the run has made a checkpoint."""
        return self.newest != self.begun_with

    def check_progress(self) -> None:
        """Refuse to start again and again.

        Raises:
            CheckpointError: too many starts in a row have failed without a new checkpoint.
        """
        if self.restarts_in_vain > RESTARTS_IN_VAIN:
            since = self.newest.split()[0] if self.newest else 'the start'
            raise CheckpointError(
                f'{RESTARTS_IN_VAIN} restarts in a row came to no new checkpoint after {since}, '
                f'so the run ends; the last one failed: {self.last_failure}'
            )
