"""Maps as a SpatioTemporal Asset Catalog (STAC)."""

from crossearth.catalog.catalogue import Catalogue, write_catalogue, write_item

__all__ = ['Catalogue', 'write_catalogue', 'write_item']
