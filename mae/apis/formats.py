"""Weights from one format to another, and weights to give away."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mae.apis.config import load_config
from mae.engine.checkpoint import load_weights, save_checkpoint, save_safetensors
from mae.utils.errors import CheckpointError
from mae.zoo.formats import BY_NAME, Departure, facts_of_config, leave, resize
from mae.zoo.formats.facts import KEY, check_facts

SUFFIXES = ('.safetensors', '.pth')


@dataclass(frozen=True)
class Conversion:
    """What `convert` wrote.

    Attributes:
        out: the file or folder.
        lines: the report: what was read, adapted, left out and written.
    """

    out: Path
    lines: list[str]


def convert(
    source: str | Path,
    out: str | Path,
    to: str,
    *,
    config: str | Path | None = None,
    facts: Mapping[str, Any] | None = None,
    encoder_only: bool = False,
    img_size: tuple[int, int] | None = None,
    patch_size: int | None = None,
    in_channels: int | None = None,
    pos_antialias: bool = True,
) -> Conversion:
    """Read a model in any known format, fit it if asked to, and write it in another.

    Args:
        source: file, or folder of transformers.
        out: `.safetensors` or `.pth` file; for transformers a folder. It must not exist.
        to: 'mae', 'fair', 'timm', 'transformers', 'mmpretrain' or 'lightly'.
        config: of ours, for what the weights do not tell, such as the number of heads.
        facts: more of that, by name; they count before the config's and the file's. None takes
            away what those say.
        encoder_only: leave out decoder and head.
        img_size: (height, width) in pixels to fit the positions to.
        patch_size: side in pixels to fit the patch projection to.
        in_channels: channels to fit it to.
        pos_antialias: resample positions as timm does; False as the authors do.

    Returns:
        What was written, with the report.

    Raises:
        CheckpointError: the source is not understood as a whole, `to` cannot hold it, or `out`
            has a wrong name or exists.
        ConfigError: the config says something impossible.
        ValueError: it cannot be fitted to the sizes asked for.
    """
    source, out = Path(source), Path(out)
    if to not in BY_NAME:
        raise ValueError(f'no format {to!r}; known: {", ".join(BY_NAME)}')
    _check_out(out, to)
    check_facts(facts or {})
    found = load_weights(source)
    weights, lines = found['state_dict'], list(found['notes'])
    known = dict(found['facts'])
    if config is not None:
        known |= facts_of_config(load_config(config).model)
    known = {name: v for name, v in {**known, **(facts or {})}.items() if v is not None}
    if encoder_only:
        dropped = sorted({name.split('.')[0] for name in weights if not _of_encoder(name)})
        weights = {name: value for name, value in weights.items() if _of_encoder(name)}
        lines += [f'left out the {name}, as asked' for name in dropped]
    weights, known, changes = resize(
        weights,
        known,
        source,
        img_size=img_size,
        patch_size=patch_size,
        in_channels=in_channels,
        pos_antialias=pos_antialias,
    )
    departure = leave(weights, BY_NAME[to], known, source)
    write(departure, out)
    return Conversion(out, [*lines, *changes, *departure.notes])


def write(departure: Departure, out: Path) -> None:
    """Write weights that are ready to leave, whole or not at all.

    Raises:
        OSError: the disk refused.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    metadata = {KEY: json.dumps(departure.passport)}
    if departure.config is not None:
        _write_folder(departure, out, {'format': 'pt', **metadata})
    elif out.suffix == '.safetensors':
        save_safetensors(departure.weights, out, metadata)
    else:
        save_checkpoint(departure.checkpoint(), out)


def _write_folder(departure: Departure, out: Path, metadata: dict[str, str]) -> None:
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f'.{out.name}.'))
    try:
        save_safetensors(departure.weights, temporary / 'model.safetensors', metadata)
        text = json.dumps(departure.config, indent=2) + '\n'
        (temporary / 'config.json').write_text(text, encoding='utf-8')
        temporary.chmod(0o755)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_out(out: Path, to: str) -> None:
    if out.exists():
        raise CheckpointError(f'{out} exists; give another name or remove it')
    if to == 'transformers' and out.suffix in SUFFIXES:
        raise CheckpointError(f'transformers reads a folder, not a file: {out}')
    if to != 'transformers' and out.suffix not in SUFFIXES:
        raise CheckpointError(f'{out} must end in {" or ".join(SUFFIXES)}')


def _of_encoder(name: str) -> bool:
    return name.startswith('encoder.')
