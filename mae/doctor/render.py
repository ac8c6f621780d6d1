"""An examination as lines, and as a page."""

from collections.abc import Iterator

from mae.doctor.findings import EXIT_CODES, Examination, ExaminedPart, FoundFault, Severity
from mae.utils.text import printable
from mae.visualization.curves import line_chart
from mae.visualization.report import charts, commands, page, paragraph, section, table, tiles

_MARKS = {
    Severity.OK: 'ok',
    Severity.NOTE: 'note',
    Severity.WARNING: 'warning',
    Severity.ERROR: 'ERROR',
}
_INDENT = ' ' * 12


def part_lines(part: ExaminedPart) -> Iterator[str]:
    """A part for a terminal: its measurements, then its findings with their cures."""
    first, *rest = part.lines or ['']
    yield printable(f'{part.name:12}{first}')
    for line in rest:
        yield printable(_INDENT + line)
    for finding in part.findings:
        yield from finding_lines(finding)


def finding_lines(finding: FoundFault) -> Iterator[str]:
    """What is the case, where, and what to do."""
    yield printable(f'  {_MARKS[finding.severity]:8}  {finding.name}: {finding.what}')
    yield printable(f'{_INDENT}{finding.where}: {finding.cure}')


def verdict(examination: Examination) -> str:
    """The last line."""
    counts = [
        f'{number} {severity.name.lower()}{"s" * (number > 1)}'
        for severity in reversed(Severity)
        if severity and (number := sum(f.severity == severity for f in examination.findings))
    ]
    found = ', '.join(counts) or 'nothing to object to'
    return f'{examination.config}: {found} ({examination.seconds:.0f} s)'


def as_page(examination: Examination, command_line: str) -> str:
    """A self-contained HTML page.

    Args:
        examination: all of it.
        command_line: that makes it again.
    """
    found = examination.findings
    rows = [(finding.name, _MARKS[finding.severity].lower(), finding.where) for finding in found]
    curves = {title: one for part in examination.parts for title, one in part.curves.items()}
    drawn = [
        line_chart([series], title=title, x_label='step', y_label=title, tips=True)
        for title, series in curves.items()
    ]
    return page(
        f'mae doctor: {examination.config}',
        paragraph(printable(verdict(examination)), 'lead'),
        tiles([(part.name, _MARKS[part.severity].lower()) for part in examination.parts]),
        section('Findings', *_findings(found), table(('finding', 'severity', 'where'), rows))
        if found
        else '',
        section('Curves', charts(*drawn)) if drawn else '',
        *(
            section(part.name.capitalize(), *(paragraph(printable(x)) for x in part.lines))
            for part in examination.parts
        ),
        section(
            'Again',
            commands(printable(command_line)),
            paragraph(
                'Exit status '
                + ', '.join(f'{code}: {s.name.lower()}' for s, code in EXIT_CODES.items()),
                'note',
            ),
        ),
    )


def _findings(found: list[FoundFault]) -> Iterator[str]:
    for finding in found:
        mark = _MARKS[finding.severity].lower()
        yield paragraph(printable(f'{mark}: {finding.what}.'))
        yield paragraph(printable(f'{finding.where}: {finding.cure}.'), 'note')
