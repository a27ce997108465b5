"""Shows maps in the browser, over their scenes: as one page, or from a server on this machine.

`open_map_view` opens a map with its scene and confidence. `write_page` writes it as one HTML file,
and `MapServer` serves it with full resolution. The map library is Leaflet, from the package
django-js-lib-leaflet (which does not need Django). Nothing is loaded from the network.
"""

from crossearth.viewer.map_view import MapView, open_map_view
from crossearth.viewer.page import write_page
from crossearth.viewer.server import MapServer

__all__ = ['MapServer', 'MapView', 'open_map_view', 'write_page']
