"""Many scenes, on the processes of one machine or the actors of a Ray cluster.

A scene that failed is tried again, and after some failures is left alone until it is asked for;
what is done has a receipt next to its map, and is not done again.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from crossearth.errors import ConfigError
from crossearth.inference.identity import identity_of
from crossearth.inference.model_output import ModelOutput
from crossearth.inference.outcomes import Outcome, Summary
from crossearth.inference.request import MapRequest, Outputs, Running, View, Windows
from crossearth.inference.scene_receipts import SceneReceipt
from crossearth.inference.scene_sources import Task
from crossearth.inference.workers import Crew, Died, Loader, Workers, start_crew
from crossearth.labels import LabelSpace

__all__ = ['predict_scenes']


def predict_scenes(
    load: Loader,
    tasks: Sequence[Task],
    *,
    labels: LabelSpace | None = None,
    windows: Windows = Windows(),
    view: View = View(),
    outputs: Outputs = Outputs(),
    running: Running = Running(),
    model_output: ModelOutput = ModelOutput(),
    workers: Workers = Workers(),
    model_id: str | None = None,
    max_failures: int = 2,
    retry: bool = False,
    progress: Callable[[Outcome], None] | None = None,
) -> Summary:
    """Map many scenes; one that fails does not keep the others.

    Args:
        load: Makes the model, once in each worker; it has to be picklable, as a function of a
            module or a `functools.partial` of one is.
        tasks: Scenes and their maps, see `tasks_of`.
        labels: As of `predict_scene`.
        windows: As of `predict_scene`.
        view: As of `predict_scene`.
        outputs: As of `predict_scene`; further rasters are written for one scene at a time.
        running: As of `predict_scene`; a shard `(i, n)` has every n-th scene from the i-th.
        workers: Processes of this machine, or actors of a cluster.
        model_output: As of `predict_scene`.
        model_id: What tells the model from others, such as a checksum of its weights: maps of
            another are made again. None for a digest of what `load` gives, for which it is called
            once more, in this process; functions have none.
        max_failures: Failures after which a scene is quarantined, those of earlier runs counted.
        retry: Whether quarantined scenes get another chance.
        progress: Called with each outcome.

    Returns:
        What became of every scene of the shard.

    Raises:
        ConfigError: If an argument has no meaning for many scenes, the model has no identity, or
            Ray is not installed.
    """
    start = time.perf_counter()
    if max_failures < 1:
        raise ConfigError(f'max_failures is {max_failures}: expected at least 1')
    if outputs.further:
        raise ConfigError(
            f'{", ".join(outputs.further)}: further rasters are written for one scene at a time'
        )
    if outputs.estimate_accuracy:
        raise ConfigError('estimate_accuracy: accuracy is estimated for one scene at a time')
    tasks = running.share_of(tasks)
    if model_id is None:
        model_id = identity_of(load())
    running = replace(running, shard=None)
    request = MapRequest(labels, windows, view, outputs, running, model_output, model_id)
    for folder in {task.destination.parent for task in tasks}:
        folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[Task, Outcome] = {}

    def settle(task: Task, outcome: Outcome) -> None:
        outcomes[task] = outcome
        if progress is not None:
            progress(outcome)

    todo: deque[Task] = deque()
    receipts = {task: SceneReceipt(task, request, model_id) for task in tasks}
    for task, receipt in receipts.items():
        known = receipt.settled(max_failures=max_failures, retry=retry)
        if known is None:
            todo.append(task)
        else:
            settle(task, known)
    with start_crew(load, request, workers) as crew:
        for task, result in _work_off(crew, todo, receipts, workers.count, max_failures):
            settle(task, result)
    return Summary(tuple(outcomes[task] for task in tasks), time.perf_counter() - start)


def _work_off(
    crew: Crew,
    todo: deque[Task],
    receipts: Mapping[Task, SceneReceipt],
    workers: int,
    max_failures: int,
) -> Iterator[tuple[Task, Outcome]]:
    alone: deque[Task] = deque()
    under_way, is_alone = 0, False
    while todo or alone or under_way:
        while todo and under_way < workers and not is_alone:
            crew.give(todo.popleft())
            under_way += 1
        if alone and under_way == 0:
            # what may have killed a worker runs again alone: none is blamed for another
            crew.give(alone.popleft())
            under_way, is_alone = 1, True
        for task, result in crew.take():
            under_way -= 1
            receipt = receipts[task]
            if isinstance(result, Outcome):
                receipt.write_done(result)
                yield task, result
            elif isinstance(result, Died) and not is_alone:
                alone.append(task)
            elif receipt.write_failure(str(result)) < max_failures:
                (alone if isinstance(result, Died) else todo).append(task)
            else:
                error = str(result)
                yield task, Outcome(task.scene, str(task.destination), 'quarantined', error=error)
        is_alone = is_alone and under_way > 0
