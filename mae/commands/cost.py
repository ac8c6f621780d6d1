"""What the model of a config costs: parameters, and floating-point operations of one image.

Only matrix products are counted, a multiply-add as 2, of the model as it is trained here: an
encoder that sees the visible patches alone, a decoder that predicts the hidden ones.
"""

import argparse
from collections.abc import Sequence

from mae.commands.arguments import add_config
from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_config(parser)
    return parse(parser, argv)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Count and print; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.config import load_config, parse_options

    config = load_config(args.config, parse_options(args.cfg_options))
    from mae.apis.model_cost import cost_rows  # late: what is wrong with the config shows before

    rows = cost_rows(config)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f'{name:{width}}  {value:>10}')
    print('matrix products alone, a multiply-add as 2, of one image')
