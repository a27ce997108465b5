"""Files of weights: reading them without trust, fitting them to a module, and writing models.

A file is read in one place, `reading`, whatever its format, and put into a module in another,
`fitting`. `pretrained`, `released` and the style networks say which tensors they expect, and lie
below the builders. `checkpoint` and `release_files` build whole models, and lie above them. That is
why this package imports none of its modules: take their names from `crossearth.models`.
"""
