"""Before a run: what a config, its data and this machine will make of it, with a cure each."""

from mae.doctor.examination import examine
from mae.doctor.findings import Examination, Finding, Part, Severity

__all__ = ['Examination', 'Finding', 'Part', 'Severity', 'examine']
