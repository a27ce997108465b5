"""The RSDG benchmark as values: its domains, settings and published results."""

from crossearth.benchmark.domains import DOMAINS, Domain
from crossearth.benchmark.settings import (
    ABLATIONS,
    OTHER_PAPERS,
    SETTINGS,
    Masking,
    Result,
    Setting,
    Table,
)

__all__ = [
    'ABLATIONS',
    'DOMAINS',
    'OTHER_PAPERS',
    'SETTINGS',
    'Domain',
    'Masking',
    'Result',
    'Setting',
    'Table',
]
