"""All scenes, in the order in which they are played."""

from tests.faults import (
    damage,
    disk,
    hostile,
    kill,
    misspelt,
    numbers,
    save,
    signals,
    soak,
    stop,
    world,
)

ALL = [
    *kill.SCENES,
    *save.SCENES,
    *stop.SCENES,
    *world.SCENES,
    *signals.SCENES,
    *damage.SCENES,
    *numbers.SCENES,
    *disk.SCENES,
    *hostile.SCENES,
    *misspelt.SCENES,
    *soak.SCENES,
]
