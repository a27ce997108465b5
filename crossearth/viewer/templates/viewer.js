'use strict';

const content = JSON.parse(document.getElementById('content').textContent);
const one = (selector) => document.querySelector(selector);

// Latitude is the row and longitude the column of the map, counted from its corner; at zoom 0 a
// pixel of the map is one of the screen.
const [gsdX, gsdY] = content.gsd_m || [1, 1];  // metres to the next column and row
const grid = L.extend({}, L.CRS.Simple, {
  transformation: new L.Transformation(1, 0, 1, 0),
  distance: (a, b) => Math.hypot((a.lat - b.lat) * gsdY, (a.lng - b.lng) * gsdX),
});
const bounds = [[0, 0], [content.height, content.width]];
const map = L.map('map', { crs: grid, zoomSnap: 0.25, minZoom: -20, maxZoom: 5, maxBoundsViscosity: 0.5 });
map.attributionControl.setPrefix('Leaflet');
if (content.gsd_m) L.control.scale({ imperial: false }).addTo(map);

// A layer is a picture of the whole and, from a server, tiles where that has too few pixels.
const Tiles = L.TileLayer.extend({
  getTileUrl(at) {
    return L.Util.template(this._url, { level: -at.z, x: at.x, y: at.y });
  },
});
const layers = new Map();
content.layers.forEach(({ name, picture, tiles }, index) => {
  const pane = map.createPane(`layer-${name}`);
  pane.style.zIndex = 210 + index;
  const parts = { pane, picture: L.imageOverlay(picture, bounds, { pane: `layer-${name}` }), tiles: null };
  if (tiles) {
    parts.tiles = new Tiles(tiles, {
      pane: `layer-${name}`, bounds, tileSize: 256, minZoom: content.tile_zoom - 0.5, maxZoom: 5,
      minNativeZoom: content.tile_zoom, maxNativeZoom: 0, noWrap: true,
    });
  }
  layers.set(name, parts);
});
const over = [...layers].filter(([name]) => name !== 'scene').map(([, parts]) => parts);

function showLayers() {
  map.getContainer().classList.toggle('near', map.getZoom() > 0);
  for (const [name, { picture, tiles }] of layers) {
    const shown = one(`[data-layer="${name}"]`).checked;
    const fine = tiles !== null && map.getZoom() >= content.tile_zoom - 0.5;
    for (const [part, wanted] of [[picture, shown && !fine], [tiles, shown && fine]]) {
      if (part === null || map.hasLayer(part) === wanted) continue;
      if (wanted) part.addTo(map); else part.remove();
    }
  }
}

function fade() {
  const { value } = one('#opacity');
  one('#opacity-said').textContent = `${value} %`;
  for (const { pane } of over) pane.style.opacity = value / 100;
}

// What is left of the divider shows the scene alone.
const divider = one('#divider');
let part = 0.5;

function cut() {
  const swipes = one('#swipe') !== null && one('#swipe').checked;
  const size = map.getSize();
  const [from, to] = [map.containerPointToLayerPoint([0, 0]), map.containerPointToLayerPoint(size)];
  const left = Math.round(from.x + size.x * part);
  divider.hidden = !swipes;
  divider.style.left = `${size.x * part}px`;
  divider.setAttribute('aria-valuenow', Math.round(100 * part));
  for (const { pane } of over) {
    pane.style.clip = swipes ? `rect(${from.y}px, ${to.x}px, ${to.y}px, ${left}px)` : '';
  }
}

function swipeTo(share) {
  part = Math.min(Math.max(share, 0), 1);
  cut();
}

divider.addEventListener('pointerdown', (event) => {
  divider.setPointerCapture(event.pointerId);
  event.preventDefault();
  divider.focus();
});
divider.addEventListener('pointermove', (event) => {
  if (!divider.hasPointerCapture(event.pointerId)) return;
  const frame = map.getContainer().getBoundingClientRect();
  swipeTo((event.clientX - frame.left) / frame.width);
});
divider.addEventListener('keydown', (event) => {
  const steps = { ArrowLeft: part - 0.05, ArrowRight: part + 0.05, Home: 0, End: 1 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  swipeTo(steps[event.key]);
});

// Where the pointer is, in the coordinates of the map.
function tellPlace({ latlng: { lat: row, lng: col } }) {
  const inside = row >= 0 && col >= 0 && row < content.height && col < content.width;
  const [a, b, c, d, e, f] = content.transform || [];
  const place = content.transform
    ? `, x ${(a * col + b * row + c).toPrecision(9)}, y ${(d * col + e * row + f).toPrecision(9)}` : '';
  one('#place').textContent = inside
    ? `row ${Math.floor(row)}, column ${Math.floor(col)}${place}` : '';
}

map.on('zoomend viewreset', showLayers);
map.on('move zoomend resize', cut);
map.on('mousemove', tellPlace);
one('#opacity').addEventListener('input', fade);
if (one('#swipe') !== null) one('#swipe').addEventListener('change', cut);
for (const box of document.querySelectorAll('[data-layer]')) box.addEventListener('change', showLayers);

map.fitBounds(bounds);
map.setMinZoom(map.getZoom() - 2);
map.setMaxBounds(L.latLngBounds(bounds).pad(0.6));
showLayers();
fade();
cut();
