"""The RSDG benchmark, and experiments on your own domains.

`settings` and `domains` describe the published settings, `methods` what can be trained, and
`recipes` writes the complete recipe of a training run. `run_benchmark` trains and scores published
settings, and `run_experiment` does the same for the domains and methods of a YAML file. Both resume
where they stopped and write one result file per run, which `summarise` turns into tables with
intervals.
"""

from typing import TYPE_CHECKING

from crossearth.lazy import lazy_names

if TYPE_CHECKING:
    from crossearth.benchmark.domains import DOMAINS, Domain
    from crossearth.benchmark.evaluation import evaluate, evaluate_images
    from crossearth.benchmark.experiment import Experiment, read_experiment, run_experiment
    from crossearth.benchmark.fingerprints import fingerprint
    from crossearth.benchmark.intervals import (
        Interval,
        image_difference_interval,
        image_interval,
        mean_interval,
        paired_interval,
    )
    from crossearth.benchmark.methods import METHODS, Method, find_method
    from crossearth.benchmark.options import RunOptions
    from crossearth.benchmark.own_settings import read_settings
    from crossearth.benchmark.predictions import PredictionFiles, encode_labels
    from crossearth.benchmark.protocol import Protocol
    from crossearth.benchmark.recipes import (
        Files,
        Variation,
        format_recipe,
        recipe_files,
        settings_of,
        training_recipe,
    )
    from crossearth.benchmark.results import RunResult, load_results, write_whole
    from crossearth.benchmark.runner import run_benchmark
    from crossearth.benchmark.scoring import score_model
    from crossearth.benchmark.settings import (
        ABLATIONS,
        OTHER_PAPERS,
        SETTINGS,
        SWEEPS,
        Masking,
        Result,
        Setting,
        Sweep,
        Table,
    )
    from crossearth.benchmark.summary import Row, published_score, summarise
    from crossearth.benchmark.sweep import PATCHES_PX, TAUS, sweep_scores, sweep_variations
else:  # settings can be read without importing PyTorch
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            'crossearth.benchmark.domains': ['DOMAINS', 'Domain'],
            'crossearth.benchmark.evaluation': ['evaluate', 'evaluate_images'],
            'crossearth.benchmark.experiment': [
                'Experiment',
                'read_experiment',
                'run_experiment',
            ],
            'crossearth.benchmark.fingerprints': ['fingerprint'],
            'crossearth.benchmark.intervals': [
                'Interval',
                'image_difference_interval',
                'image_interval',
                'mean_interval',
                'paired_interval',
            ],
            'crossearth.benchmark.methods': ['METHODS', 'Method', 'find_method'],
            'crossearth.benchmark.options': ['RunOptions'],
            'crossearth.benchmark.own_settings': ['read_settings'],
            'crossearth.benchmark.predictions': ['PredictionFiles', 'encode_labels'],
            'crossearth.benchmark.protocol': ['Protocol'],
            'crossearth.benchmark.recipes': [
                'Files',
                'Variation',
                'format_recipe',
                'recipe_files',
                'settings_of',
                'training_recipe',
            ],
            'crossearth.benchmark.results': ['RunResult', 'load_results', 'write_whole'],
            'crossearth.benchmark.runner': ['run_benchmark'],
            'crossearth.benchmark.scoring': ['score_model'],
            'crossearth.benchmark.settings': [
                'ABLATIONS',
                'OTHER_PAPERS',
                'SETTINGS',
                'SWEEPS',
                'Masking',
                'Result',
                'Setting',
                'Sweep',
                'Table',
            ],
            'crossearth.benchmark.summary': ['Row', 'published_score', 'summarise'],
            'crossearth.benchmark.sweep': [
                'PATCHES_PX',
                'TAUS',
                'sweep_scores',
                'sweep_variations',
            ],
        },
    )

__all__ = [
    'ABLATIONS',
    'DOMAINS',
    'METHODS',
    'OTHER_PAPERS',
    'PATCHES_PX',
    'SETTINGS',
    'SWEEPS',
    'TAUS',
    'Domain',
    'Experiment',
    'Files',
    'Interval',
    'Masking',
    'Method',
    'PredictionFiles',
    'Protocol',
    'Result',
    'Row',
    'RunOptions',
    'RunResult',
    'Setting',
    'Sweep',
    'Table',
    'Variation',
    'encode_labels',
    'evaluate',
    'evaluate_images',
    'find_method',
    'fingerprint',
    'format_recipe',
    'image_difference_interval',
    'image_interval',
    'load_results',
    'mean_interval',
    'paired_interval',
    'published_score',
    'read_experiment',
    'read_settings',
    'recipe_files',
    'run_benchmark',
    'run_experiment',
    'score_model',
    'settings_of',
    'summarise',
    'sweep_scores',
    'sweep_variations',
    'training_recipe',
    'write_whole',
]
