"""A misspelt key at every depth of every shipped config, checked as the tools check configs."""

from mae.config import load_config, shipped_configs
from mae.config.check import check_config
from mae.utils.errors import ConfigError
from tests.config.test_misspelt import places, replaced, slip
from tests.faults.scene import Scene


def misspell(trial):
    """Every key of one config."""
    leaf = sorted(shipped_configs())[trial.number]
    config = load_config(leaf).to_dict()
    right, missed = 0, []
    for path in places(config):
        key = path[-1]
        wrong = key
        while wrong == key:
            wrong = slip(key, trial.rng)
        changed = replaced(
            config,
            path,
            lambda node, key=key, wrong=wrong: {
                wrong if k == key else k: value for k, value in node.items()
            },
        )
        where = '.'.join(map(str, path))
        try:
            check_config(changed)
            message = 'taken as it is'
        except ConfigError as error:
            message = str(error)
        if f'did you mean {where}?' in message:
            right += 1
        else:
            missed.append(f'{where} as {wrong}: {message}')
    trial.facts |= {'config': leaf.stem, 'missed': missed}
    trial.facts['why'] = '; '.join(missed)
    return right, right + len(missed)


SCENES = [
    Scene(
        'configs',
        'a misspelt key at every depth of every shipped config: refused, and the right one named',
        misspell,
        full=lambda bench: len(shipped_configs()),
        short=(0,),
        share=0.99,
    )
]
