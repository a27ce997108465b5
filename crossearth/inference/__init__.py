"""Scene in, map out: windows, blending, writing, vectors."""

from crossearth.inference.predict import SceneMap, predict_scene
from crossearth.inference.vectors import VectorMap, vectorize

__all__ = ['SceneMap', 'VectorMap', 'predict_scene', 'vectorize']
