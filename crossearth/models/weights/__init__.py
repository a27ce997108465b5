"""Weights files: reading them without trusting them, fitting them to a module, writing models.

`reading` reads a file of any format, and `fitting` puts its tensors into a module. `pretrained`,
`released` and the style networks name the tensors that they expect; the builders import them.
`checkpoint` and `release_files` build complete models, so they import the builders. To avoid that
circle, this package imports none of its modules: take their names from `crossearth.models`.
"""
