"""What QGIS itself runs for `pictures.py`: it opens files as a user does, and takes a picture."""

import os
from pathlib import Path

from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QPainter
from qgis.PyQt.QtWidgets import QDockWidget
from qgis.utils import iface

WORK = Path(os.environ['WORK'])
SIZE_PX = (1120, 700)


def open_map():
    """The scene, and the map over it, which lets the scene through."""
    tree = QgsProject.instance().layerTreeRoot()
    for name in ('scene', 'map'):
        layer = QgsRasterLayer(str(WORK / f'{name}.tif'), name)
        QgsProject.instance().addMapLayer(layer)
        tree.findLayer(layer).setExpanded(name == 'map')
    QgsProject.instance().setCrs(layer.crs())
    layer.setOpacity(0.6)
    iface.mapCanvas().setExtent(layer.extent())


def open_labelling():
    """The project of a sample, with the form of its first point."""
    iface.addProject(str(WORK / 'sample' / 'labelling.qgz'))


def take_with_form():
    """Open the form of a point, and take the picture when it is drawn."""
    (layer,) = QgsProject.instance().mapLayersByName('points')
    layer.startEditing()
    form = iface.getFeatureForm(layer, next(layer.getFeatures()))
    form.show()
    QTimer.singleShot(3000, lambda: take(form))


def take(form=None):
    """Save the window, with the form in it."""
    window = iface.mainWindow()
    picture = window.grab()
    if form is not None:
        painter = QPainter(picture)
        painter.drawPixmap(SIZE_PX[0] - form.width() - 30, 150, form.grab())
        painter.end()
    picture.save(os.environ['WRITTEN'])
    os._exit(0)  # without asking whether to save the project


def start():
    """Open what the picture shows, and wait until it is drawn."""
    window = iface.mainWindow()
    window.showNormal()
    window.resize(*SIZE_PX)
    window.findChild(QDockWidget, 'Browser').close()
    if os.environ['PICTURE'] == 'map':
        open_map()
        QTimer.singleShot(5000, take)
        return
    open_labelling()
    QTimer.singleShot(4000, take_with_form)


QTimer.singleShot(3000, start)
