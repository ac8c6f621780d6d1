"""All scenes, in the order in which they are played."""

from tests.faults import kill

ALL = [*kill.SCENES]
