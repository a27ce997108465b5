"""
A paper's table next to your own results
========================================

The published numbers of the RSDG benchmark are values, so that your results can stand next to them.
"""

# %%
# Published numbers
# -----------------
# ``SETTINGS`` holds what the paper prints for each of its settings, in percent.

import pandas as pd

from crossearth.benchmark import SETTINGS

names = [name for name, one in SETTINGS.items() if one.reported][:6]
published = {
    name: {method: result.miou for method, result in SETTINGS[name].reported.items()}
    for name in names
}
pd.DataFrame(published).T

# %%
# Your own results
# ----------------
# ``crossearth benchmark run`` writes one file for each training run, and ``crossearth benchmark
# report`` draws tables and figures from them. Nobody has trained on the archives of the benchmark
# for this page, so it makes results up: the published number, less one point, plus noise, for
# three seeds. They are not measurements.

import numpy as np

rng = np.random.default_rng(0)
invented = {name: published[name]['CrossEarth'] + rng.normal(-1, 1.2, size=3) for name in names}

# %%
# Mean and interval over seeds
# ----------------------------
# Three seeds make wide intervals. The report draws them so, with the paper's numbers as points
# without one.

from crossearth.benchmark import mean_interval
from crossearth.visualization import draw_intervals

nan = float('nan')
series = {
    'your runs (made up)': {
        name: (float(scores.mean()), interval.low, interval.high)
        for name, scores in invented.items()
        for interval in [mean_interval(scores.tolist())]
    },
    'CrossEarth, as published': {name: (published[name]['CrossEarth'], nan, nan) for name in names},
}
figure = draw_intervals(names, series)

# %%
# A radar
# -------
# Quoted series are dashed.

from crossearth.visualization import draw_radar

quoted_methods = ['CrossEarth', 'Rein']
radar = draw_radar(
    names,
    {
        'your runs (made up)': {name: float(scores.mean()) for name, scores in invented.items()},
        **{method: {name: published[name][method] for name in names} for method in quoted_methods},
    },
    quoted=dict.fromkeys(quoted_methods, ''),
)

# %%
# A table for a paper
# -------------------
# The report writes LaTeX and CSV. This is the same in pandas.

rows = {
    name: {
        'published': f'{published[name]["CrossEarth"]:.1f}',
        'your runs (made up)': f'{scores.mean():.1f} ± {scores.std(ddof=1):.1f}',
    }
    for name, scores in invented.items()
}
print(pd.DataFrame(rows).T.to_string())
