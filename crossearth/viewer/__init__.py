"""Maps in the browser, over their scenes: as one page, or from a server on this machine.

The map library is Leaflet, whose files come from the package django-js-lib-leaflet (which needs no
Django). Nothing is fetched from elsewhere.
"""

from crossearth.viewer.map_view import MapView, open_map_view
from crossearth.viewer.page import write_page
from crossearth.viewer.server import MapServer

__all__ = ['MapServer', 'MapView', 'open_map_view', 'write_page']
