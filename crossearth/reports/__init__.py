"""Reports to publish from: a page, tables and figures of what the benchmark has run."""

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
