"""Accuracy of a map and areas of its classes, with confidence intervals, from a labelled sample.

`draw_sample` draws pixels of a map and writes a folder for labelling them. `assess_map` reads the
labels and estimates accuracies and areas, and `write_report` writes them. The mathematics needs no
files: `sample_size` and `allocate` plan a sample, and `assess_sample` estimates from arrays.
"""

from crossearth.assessment.assessing import Assessment, assess_map
from crossearth.assessment.design import allocate, sample_size
from crossearth.assessment.drawing import SampleSize, draw_sample
from crossearth.assessment.estimators import (
    Accuracy,
    ClassAccuracy,
    Estimate,
    Sample,
    Strata,
    assess_sample,
)
from crossearth.assessment.intervals import Interval
from crossearth.assessment.report import format_assessment, write_report
from crossearth.assessment.sample_folder import Design, Unit
from crossearth.assessment.stratified_map import Stratum

__all__ = [
    'Accuracy',
    'Assessment',
    'ClassAccuracy',
    'Design',
    'Estimate',
    'Interval',
    'Sample',
    'SampleSize',
    'Strata',
    'Stratum',
    'Unit',
    'allocate',
    'assess_map',
    'assess_sample',
    'draw_sample',
    'format_assessment',
    'sample_size',
    'write_report',
]
