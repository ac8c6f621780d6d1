"""The command lines: each module has `main(argv, prog)` and the `parse_args` that goes with it.

The command `mae` (`mae.__main__`) and the scripts in `tools/` are two doors to them. Modules import
nothing heavy at their top, so that `--help` and typos are answered at once.
"""
