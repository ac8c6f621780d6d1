"""What a Python call says is in the words of Python: `img_size`, not `--img-size`.

The command line spells the same names with dashes. Options stand only where command lines are
parsed or begun, and in a cure that is a whole command.
"""

import ast
import re
from pathlib import Path

MAE = Path(__file__).parents[2] / 'mae'
# Command lines, what the tools alone call, and the command lines of others.
LEFT_OUT = ('__main__', 'commands/', 'protocol/', 'benchmark/', 'config/imports/')
OPTION = re.compile(r'(?<![\w="-])--[a-z][\w-]*')  # `"--` begins a property of CSS
# Up to the backtick that ends it, if one began it.
COMMAND = re.compile(r'(^|`)(mae|tools/|python)[^`]*|(tools/|docker |pip ).*', re.DOTALL)


def texts(code):
    """All texts but docstrings; an f-string without what it puts in."""
    tree = ast.parse(code)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):  # an f-string comes before its parts
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            yield ''.join(part.value for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and id(node) not in inner:
            yield node.value if isinstance(node.value, str) else ''


def options_in(code):
    """Those that its sentences name; a text without blanks is a word of a command line."""
    sentences = [text for text in texts(code) if ' ' in text.strip() and '{' not in text]
    return [option for text in sentences for option in OPTION.findall(COMMAND.sub('', text))]


def test_messages_name_arguments_as_python_does():
    found = {}
    for path in sorted(MAE.rglob('*.py')):
        name = str(path.relative_to(MAE))
        if not name.startswith(LEFT_OUT) and (options := options_in(path.read_text())):
            found[name] = options
    assert not found


def test_an_option_in_a_message_is_found():
    assert options_in("def f(a):\n    raise ValueError(f'{a} is no folder: give --work-dir')") == [
        '--work-dir'
    ]
    assert not options_in("'''Reads `--key`.'''\nraise ValueError('use `mae train C --resume`')")
    assert not options_in("words += ['--resume', path]")
