"""Describes folders of maps as a SpatioTemporal Asset Catalog (STAC).

`write_catalogue` writes one item per map and a `catalog.json` that links them. Times of the scenes
come from STAC items or file metadata, and footprints from the maps themselves.
"""

from crossearth.catalog.catalogue import Catalogue, write_catalogue, write_item

__all__ = ['Catalogue', 'write_catalogue', 'write_item']
