"""The table of faults, and what an examination comes to."""

import re
from pathlib import Path

import pytest

from mae.doctor import Examination, ExaminedPart, FoundFault, Severity
from mae.doctor.findings import EXIT_CODES, FAULTS
from mae.doctor.render import part_lines, verdict

PAGE = Path(__file__).parents[2] / 'docs/en/user_guides/doctor.md'


def test_the_page_has_every_fault_with_its_cure():
    rows = re.findall(r'^\| `(\w+)` \| (\w+) \| `(.+?)` \| (.+) \|$', PAGE.read_text(), re.M)
    assert rows == [
        (name, fault.severity.name.lower(), fault.where, fault.cure)
        for name, fault in FAULTS.items()
    ]


def test_the_page_has_the_exit_codes():
    codes = {str(code) for code in EXIT_CODES.values()}
    assert codes == set(re.findall(r'^\| (\d) \| (?!the)', PAGE.read_text(), re.M))


def test_every_fault_can_be_found():
    """Some line of the package names it."""
    package = Path(__file__).parents[2] / 'mae/doctor'
    text = ''.join(path.read_text() for path in package.glob('*.py') if path.name != 'findings.py')
    assert [name for name in FAULTS if f"'{name}'" not in text] == []


@pytest.mark.parametrize(
    ('names', 'severity', 'code'),
    [
        ([], Severity.OK, 0),
        (['masks_fixed'], Severity.NOTE, 0),
        (['masks_fixed', 'wrong_mean'], Severity.WARNING, 3),
        (['wrong_mean', 'disk_too_small', 'masks_fixed'], Severity.ERROR, 4),
    ],
)
def test_the_worst_finding_counts(names, severity, code):
    parts = [ExaminedPart('a', findings=[FoundFault(name, 'so it is')]) for name in names]
    found = Examination('config', parts, 1.0)
    assert (found.severity, found.exit_code) == (severity, code)
    severities = [finding.severity for finding in found.findings]
    assert severities == sorted(severities, reverse=True)


def test_lines_say_what_where_and_how():
    part = ExaminedPart('data', ['200 images'], [FoundFault('wrong_mean', 'mean 2', 'some.key')])
    text = '\n'.join(part_lines(part))
    assert text.startswith('data        200 images\n')
    assert f'wrong_mean: mean 2\n            some.key: {FAULTS["wrong_mean"].cure}' in text
    assert verdict(Examination('c', [part, part], 2.0)) == 'c: 2 warnings (2 s)'
