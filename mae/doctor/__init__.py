"""Before a run: what a config, its data and this machine will make of it, with a cure each."""

from mae.doctor.examination import examine_run
from mae.doctor.findings import Examination, ExaminedPart, FoundFault, Severity

__all__ = ['Examination', 'ExaminedPart', 'FoundFault', 'Severity', 'examine_run']
