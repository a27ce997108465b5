"""Inspects a user's images and labels, and writes a recipe that trains on them.

`start` gathers the files (`scenes`, `mask_values`), guesses how masks encode classes (`encoding`),
holds out part of the ground for validation (`split`), and chooses bands, value range and pixel size
(`view`). It then writes the recipe (`recipe`) and reports every assumption (`report`).
"""

from crossearth.survey.run import Domain, start

__all__ = ['Domain', 'start']
