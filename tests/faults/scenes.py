"""All scenes, in the order in which they are played."""

from tests.faults import (
    baseline,
    cost,
    damage,
    disk,
    elastic,
    hostile,
    images,
    kill,
    misspelt,
    nodes,
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
    *nodes.SCENES,
    *elastic.SCENES,
    *signals.SCENES,
    *damage.SCENES,
    *numbers.SCENES,
    *disk.SCENES,
    *images.SCENES,
    *hostile.SCENES,
    *misspelt.SCENES,
    *soak.SCENES,
    *cost.SCENES,
    *baseline.SCENES,
]
