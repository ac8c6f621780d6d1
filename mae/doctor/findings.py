"""What the doctor may find: each fault once, with its severity and its cure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from mae.visualization.curves import Series


class Severity(IntEnum):
    """How much a finding matters.

    An error ends or spoils the run, a warning costs time or accuracy, a note is good to know.
    """

    OK = 0
    NOTE = 1
    WARNING = 2
    ERROR = 3


# Status of the command by the worst finding; 1 and 2 are what every command ends with where it
# cannot work at all, and where its arguments are wrong.
EXIT_CODES = {Severity.OK: 0, Severity.NOTE: 0, Severity.WARNING: 3, Severity.ERROR: 4}


@dataclass(frozen=True)
class Fault:
    """A row of the table of faults.

    Attributes:
        severity: of every finding of this fault.
        where: config key, or what else holds the cause.
        cure: what to do.
    """

    severity: Severity
    where: str
    cure: str


FAULTS = {
    # environment
    'work_dir_refused': Fault(
        Severity.ERROR,
        'work_dir',
        'choose another work_dir, or let this user write there',
    ),
    'workers_beyond_cores': Fault(
        Severity.WARNING,
        'train_dataloader.num_workers',
        "set it to 'auto', which leaves two cores to the training process",
    ),
    'little_shared_memory': Fault(
        Severity.ERROR,
        '/dev/shm',
        'enlarge it (docker run --shm-size=8g), or lower num_workers or prefetch_factor',
    ),
    'slow_number_format': Fault(
        Severity.NOTE,
        'optim_wrapper.amp',
        "set it to what the device computes fast: None on such a CPU, 'bfloat16' on a GPU",
    ),
    # data
    'data_missing': Fault(
        Severity.ERROR,
        'train_dataloader.dataset.source',
        'put the data there, or name its folder in this key; all else is examined with random '
        'images',
    ),
    'unreadable_images': Fault(
        Severity.WARNING,
        'train_dataloader.dataset.quarantine',
        'list all of them with tools/data/verify.py, and name the list as quarantine',
    ),
    'too_many_unreadable': Fault(
        Severity.ERROR,
        'train_dataloader.dataset.quarantine',
        'list them with tools/data/verify.py, and name the list as quarantine: the run would stop',
    ),
    'wrong_mean': Fault(
        Severity.WARNING,
        'model.preprocessor',
        'set mean and std to those of the images, in grey levels of 0 to 255',
    ),
    'constant_images': Fault(
        Severity.WARNING,
        'train_dataloader.dataset.source',
        'look at the images that are named, and remove those that show one colour',
    ),
    'duplicate_files': Fault(
        Severity.WARNING,
        'train_dataloader.dataset.source',
        'remove the copies: an epoch shows them more often than the others',
    ),
    'few_duplicate_files': Fault(
        Severity.NOTE,
        'train_dataloader.dataset.source',
        'remove the copies',
    ),
    'validation_seen_in_training': Fault(
        Severity.WARNING,
        'val_dataloader.dataset.source',
        'remove the files from one of the two: the metrics come out too good',
    ),
    # labels
    'labels_shifted': Fault(
        Severity.ERROR,
        'train_dataloader.dataset.source',
        'number the classes from 0, in one order for training and validation: give both the same '
        '`classes`',
    ),
    'labels_misplaced': Fault(
        Severity.ERROR,
        'train_dataloader.dataset.source',
        'make the list of labels agree with the names of the class folders, in the order of '
        '`classes`',
    ),
    'labels_at_chance': Fault(
        Severity.WARNING,
        'train_dataloader.dataset.source',
        'look at a few images beside the names of their classes; labels that are right and too '
        'fine for small pictures look the same',
    ),
    # learning
    'loss_not_finite': Fault(
        Severity.ERROR,
        'optim_wrapper.amp',
        "look at the images and at model.preprocessor; 'bfloat16' instead of 'float16'",
    ),
    'gradients_not_finite': Fault(
        Severity.ERROR,
        'optim_wrapper.amp',
        "look at the loss and at model.preprocessor; 'bfloat16' instead of 'float16'",
    ),
    'without_gradient': Fault(
        Severity.WARNING,
        'model',
        'let the loss depend on these parameters, or freeze them: they stay as they began',
    ),
    'does_not_learn': Fault(
        Severity.ERROR,
        'model',
        'look at target, loss, labels and what is frozen: the loss of one batch must fall',
    ),
    'rate_too_high': Fault(
        Severity.WARNING,
        'base_lr',
        'take a rate ten times lower',
    ),
    'rate_above_rule': Fault(
        Severity.WARNING,
        'base_lr',
        'take the rate of the rule, or show with a short run that this one trains',
    ),
    'masks_equal': Fault(
        Severity.ERROR,
        'model.masker',
        'let the scores depend on `keys`, of which each image has its own in each epoch',
    ),
    'masks_fixed': Fault(
        Severity.NOTE,
        'model.masker',
        'nothing, if it is meant: this masker hides the same patches of every image',
    ),
    'run_refused': Fault(
        Severity.ERROR,
        'config',
        'as the message says: the run would end with it',
    ),
    'weights_unfit': Fault(
        Severity.ERROR,
        'load_from',
        'give weights that are there and fit the model; the rest is examined with new weights',
    ),
    # pace
    'slow_loader': Fault(
        Severity.WARNING,
        'train_dataloader.num_workers',
        'raise it up to the cores; pack the images with a short side of 256 pixels '
        '(tools/data/pack.py); put them on a faster disk',
    ),
    # memory
    'batch_does_not_fit': Fault(
        Severity.ERROR,
        'train_dataloader.batch_size',
        'lower it to what fits: accumulation keeps global_batch_size, and so the learning rate',
    ),
    'memory_nearly_full': Fault(
        Severity.WARNING,
        'train_dataloader.batch_size',
        'lower it: accumulation keeps global_batch_size, and so the learning rate',
    ),
    # schedule
    'warmup_too_long': Fault(
        Severity.WARNING,
        'param_scheduler',
        'shorten the warm-up, or lengthen the run: the rate hardly gets to its peak',
    ),
    # cost
    'disk_too_small': Fault(
        Severity.ERROR,
        'work_dir',
        'free some space, choose another work_dir, or lower default_hooks.checkpoint.max_keep',
    ),
}


@dataclass(frozen=True)
class FoundFault:
    """One fault that was found.

    Attributes:
        name: of the fault, a key of `FAULTS`.
        what: is the case here, with its numbers.
        place: config key, or what else holds the cause; '' takes that of the fault.
    """

    name: str
    what: str
    place: str = ''

    @property
    def where(self) -> str:
        """Config key, or what else holds the cause."""
        return self.place or FAULTS[self.name].where

    @property
    def severity(self) -> Severity:
        """Of the fault."""
        return FAULTS[self.name].severity

    @property
    def cure(self) -> str:
        """Of the fault."""
        return FAULTS[self.name].cure

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {
            'name': self.name,
            'severity': self.severity.name.lower(),
            'what': self.what,
            'where': self.where,
            'cure': self.cure,
        }


@dataclass(frozen=True)
class ExaminedPart:
    """What one part of the examination gives.

    Attributes:
        name: one word or two.
        lines: what was measured, for a reader.
        findings: faults, in any order.
        facts: what was measured, as plain values.
        curves: to draw, by their title; x is in steps.
    """

    name: str
    lines: Sequence[str] = ()
    findings: Sequence[FoundFault] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Series] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        """Of the worst finding."""
        return max((finding.severity for finding in self.findings), default=Severity.OK)


@dataclass(frozen=True)
class Examination:
    """All parts, in the order in which they were examined.

    Attributes:
        config: name of the config.
        parts: one each.
        seconds: that the examination took.
    """

    config: str
    parts: Sequence[ExaminedPart]
    seconds: float

    @property
    def findings(self) -> list[FoundFault]:
        """Of all parts, the worst first."""
        found = [finding for part in self.parts for finding in part.findings]
        return sorted(found, key=lambda finding: -finding.severity)

    @property
    def severity(self) -> Severity:
        """Of the worst finding."""
        return max((part.severity for part in self.parts), default=Severity.OK)

    @property
    def exit_code(self) -> int:
        """Status of the command."""
        return EXIT_CODES[self.severity]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            'config': self.config,
            'severity': self.severity.name.lower(),
            'seconds': round(self.seconds, 1),
            'findings': [finding.as_dict() for finding in self.findings],
            'parts': {part.name: {'lines': list(part.lines), **part.facts} for part in self.parts},
        }
