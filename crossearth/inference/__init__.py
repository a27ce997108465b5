"""Scene in, map out: windows, blending, writing, vectors, resuming, many scenes."""

from crossearth.inference.estimate import SceneEstimate, estimate_scene
from crossearth.inference.many import Outcome, Summary, predict_scenes
from crossearth.inference.predict import SceneMap, predict_scene
from crossearth.inference.sources import Task, find_scenes, tasks_of
from crossearth.inference.vectors import VectorMap, vectorize

__all__ = [
    'Outcome',
    'SceneEstimate',
    'SceneMap',
    'Summary',
    'Task',
    'VectorMap',
    'estimate_scene',
    'find_scenes',
    'predict_scene',
    'predict_scenes',
    'tasks_of',
    'vectorize',
]
