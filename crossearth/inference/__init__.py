"""Scene in, map out: windows, blending, writing."""

from crossearth.inference.predict import SceneMap, predict_scene

__all__ = ['SceneMap', 'predict_scene']
