"""The site: Sphinx builds it from the pages as they are, `make docs`.

The root of the sources is the repository, so that a relative link leads to the same page on the
site and where the repository is read.
"""

import inspect
import os
import re
import sys
from pathlib import Path
from pkgutil import resolve_name

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs')]

import api_pages  # noqa: E402  (beside this file, found by the line above)

from mae.version import __version__  # noqa: E402  (likewise, without an installed mae)

project = 'MAE'
author = 'the MAE toolbox contributors'
version = release = __version__
language = 'en'

root_doc = 'docs/en/overview'
include_patterns = [
    *('docs/en/**.md', 'docs/en/tutorials/*.ipynb', 'docs/api/**.rst', 'configs/**/README.md'),
    *('README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'),
]
exclude_patterns = ['build', 'data', 'work_dirs', 'mae', 'tests', 'tools', '.*', '*.egg-info']
extensions = [
    *('myst_nb', 'sphinx_copybutton', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon'),
]
nb_execution_mode = 'off'  # `make tutorials` has executed them
# The address of the repository, which Read the Docs knows: there objects link to their source.
REPOSITORY = os.environ.get('READTHEDOCS_GIT_CLONE_URL', '').removesuffix('.git')
COMMIT = os.environ.get('READTHEDOCS_GIT_COMMIT_HASH', 'HEAD')
if REPOSITORY:
    extensions.append('sphinx.ext.linkcode')
myst_heading_anchors = 4
myst_html_meta = {'description': 'Masked autoencoders on PyTorch and mmengine, from configs'}
default_role = 'code'
# A word before a colon is taken for a type, of which several may have the name.
suppress_warnings = ['ref.python']

add_module_names = False
python_maximum_signature_line_length = 88
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = 'furo'
html_title = f'MAE {release}'
html_extra_path = ['site']
html_static_path = ['static']
html_favicon = 'static/favicon.svg'
html_css_files = ['wide.css']
html_search_scorer = str(ROOT / 'docs/search_scorer.js')
html_sourcelink_suffix = ''  # or the source of a tutorial would be no notebook by its name
html_show_copyright = False
html_theme_options = {'navigation_with_keys': True}
copybutton_exclude = '.linenos, .gp'

_LIST = '## All pages'
_ENTRY = re.compile(r'^ *- (?:([\w ]+): )?', re.MULTILINE)
_LINK = re.compile(r'\[[^\]]+\]\(([^)#]+\.(?:md|ipynb))\)')


def navigation(text: str) -> str:
    """The toctrees of the overview: its own list of all pages, and what lies outside of it."""
    listed = text.partition(_LIST)[2]
    trees: list[tuple[str, list[str]]] = []
    parts = _ENTRY.split(listed)[1:]
    for caption, words in zip(parts[::2], parts[1::2], strict=True):
        if pages := _LINK.findall(words):
            trees.append(((caption or '').capitalize(), pages))
    readmes = sorted(ROOT.glob('configs/*/README.md')) + sorted(ROOT.glob('configs/*/*/README.md'))
    trees.append(('Recipes', [f'/{path.relative_to(ROOT)}' for path in readmes]))
    trees.append(('Reference', ['/docs/api/index']))
    trees.append(('Project', ['/README.md', '/CHANGELOG.md', '/CONTRIBUTING.md', '/SECURITY.md']))
    return '\n'.join(_toctree(caption, pages) for caption, pages in trees)


def _toctree(caption: str, pages: list[str]) -> str:
    lines = ['```{toctree}', ':hidden:', ':maxdepth: 1', f':caption: {caption}' if caption else '']
    return '\n'.join([*filter(None, lines), '', *pages, '```', ''])


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Add the toctrees to the page that is the door."""
    if name == root_doc:
        source[0] += '\n' + navigation(source[0])


def lead_to_reference(app: Sphinx, doctree: nodes.document) -> None:
    """Let a link to a folder or module of `mae` lead to its reference; others are no link."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    links: list[nodes.Element] = list(doctree.findall(addnodes.pending_xref))
    links += doctree.findall(addnodes.download_reference)
    for link in links:
        if link.get('reftype') != 'myst' or link.get('refdomain') == 'doc':
            continue
        path = (here / link['reftarget']).resolve()
        if not path.is_relative_to(ROOT):
            continue
        folder = path if path.is_dir() else path.parent
        name = '.'.join(folder.relative_to(ROOT).parts)
        page = f'docs/api/{name}'
        if path.suffix in ('', '.py') and page in app.env.found_docs:
            new = addnodes.pending_xref(
                '',
                *link.children,
                refdoc=app.env.docname,
                refdomain='doc',
                reftype='myst',
                reftarget=page,
                reftargetid=None,
                refexplicit=True,
            )
            link.replace_self(new)
        elif path.is_dir():
            link.replace_self(link.children)


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """The address of an object's lines in the repository."""
    try:
        found = resolve_name(f'{info["module"]}:{info["fullname"]}')
        path = Path(inspect.getsourcefile(inspect.unwrap(found)) or '')
        lines, first = inspect.getsourcelines(found)
    except (AttributeError, TypeError, OSError):  # attributes and constants have no lines
        return None
    if not path.is_relative_to(ROOT):
        return None
    last = first + len(lines) - 1
    return f'{REPOSITORY}/blob/{COMMIT}/{path.relative_to(ROOT)}#L{first}-L{last}'


def setup(app: Sphinx) -> None:
    """Write the reference's pages, and add what pages have on the site alone."""
    app.connect('builder-inited', lambda app: api_pages.write(ROOT / 'docs/api'))
    app.connect('source-read', add_navigation)
    app.connect('doctree-read', lead_to_reference)
    # Before napoleon, which makes reStructuredText of the sections.
    app.connect('autodoc-process-docstring', api_pages.prepare_docstring, priority=400)
