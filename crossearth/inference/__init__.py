"""Scene in, map out: windows, blending, writing, vectors, resuming, many scenes."""

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
