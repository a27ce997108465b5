"""Maps scenes with a model, and turns maps into vectors.

`predict_scene` maps one scene, and `predict_scenes` maps many with worker processes. A scene is
read in windows, the model predicts each window, and overlapping predictions are blended and written
to a GeoTIFF. `Windows`, `View`, `Outputs`, `Running` and `ModelOutput` hold the options. Finished
maps can be cleaned with `sieve_map`, turned into shapes with `vectorize` and `trace_lines`, and
counted with `summarise_map`. Nothing here imports lightning or torchgeo.
"""

from crossearth.inference.centre_lines import LineMap, trace_lines
from crossearth.inference.estimate import SceneEstimate, estimate_scene
from crossearth.inference.identity import identity_of
from crossearth.inference.many_scenes import predict_scenes
from crossearth.inference.map_summary import ClassSummary, MapSummary, summarise_map
from crossearth.inference.model_output import ModelOutput
from crossearth.inference.onnx_export import OnnxExport, export_onnx
from crossearth.inference.outcomes import Outcome, Summary
from crossearth.inference.predict import SceneMap, predict_scene
from crossearth.inference.request import GsdEstimator, Outputs, Running, View, Windows
from crossearth.inference.scene_sources import Task, find_scenes, tasks_of
from crossearth.inference.sieving import SievedMap, sieve_map
from crossearth.inference.vectors import VectorMap, vectorize
from crossearth.inference.workers import Workers

__all__ = [
    'ClassSummary',
    'GsdEstimator',
    'LineMap',
    'MapSummary',
    'ModelOutput',
    'OnnxExport',
    'Outcome',
    'Outputs',
    'Running',
    'SceneEstimate',
    'SceneMap',
    'SievedMap',
    'Summary',
    'Task',
    'VectorMap',
    'View',
    'Windows',
    'Workers',
    'estimate_scene',
    'export_onnx',
    'find_scenes',
    'identity_of',
    'predict_scene',
    'predict_scenes',
    'sieve_map',
    'summarise_map',
    'tasks_of',
    'trace_lines',
    'vectorize',
]
