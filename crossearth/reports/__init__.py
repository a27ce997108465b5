"""Reports of benchmark results for publication: a page, tables and figures.

`report_data` collects result files into data frames. `groups_of` and `costs_table` make tables from
these, and `write_report` writes the page with all tables and figures as files.
"""

from crossearth.reports.build import write_report
from crossearth.reports.data import ReportData, report_data
from crossearth.reports.examples import DomainPictures, Missing, domain_pictures
from crossearth.reports.pictures import find_pictures, published_images
from crossearth.reports.tables import format_scores

__all__ = [
    'DomainPictures',
    'Missing',
    'ReportData',
    'domain_pictures',
    'find_pictures',
    'format_scores',
    'published_images',
    'report_data',
    'write_report',
]
