"""Maps many scenes, with processes on one machine or actors on a Ray cluster.

A scene that fails is tried again. After some failures it is quarantined, and skipped until the user
asks for it again. A finished scene has a receipt next to its map, and is not mapped again.
"""

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from crossearth.errors import BusyError, ConfigError, WriteError
from crossearth.inference.crew import Crew, Failure, Loader
from crossearth.inference.map_lock import only_writer
from crossearth.inference.model_output import ModelOutput
from crossearth.inference.outcomes import Outcome, Summary
from crossearth.inference.request import MapRequest, Outputs, Running, View, Windows
from crossearth.inference.scene_receipts import SceneReceipt
from crossearth.inference.scene_sources import Task
from crossearth.inference.workers import Workers, start_crew
from crossearth.inference.writer import check_replaceable, find_leftovers
from crossearth.labels import LabelSpace

__all__ = ['predict_scenes']

_ALIKE = 3  # if this many first scenes fail in the same way, something they share is at fault
_PAUSE_S = 1.0  # between two checks for maps that another process is making


# many arguments: what to map, how, with how many workers, and what to do with failures.
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
    """Map many scenes. A scene that fails does not stop the others.

    If another process is making the same map, this run waits for it and does not make it twice. So
    several runs may share one list of scenes.

    Args:
        load: Makes the model, once in each worker. It must be picklable, such as a function of a
            module or a `functools.partial` of one.
        tasks: Scenes and their maps, see `tasks_of`.
        labels: As in `predict_scene`.
        windows: As in `predict_scene`.
        view: As in `predict_scene`, except that a stated pixel size is only used for scenes
            without a georeference.
        outputs: As in `predict_scene`, except that further rasters name folders, whose files have
            the names of the maps.
        running: As in `predict_scene`; a shard `(i, n)` maps every n-th scene, from the i-th.
        workers: Processes of this machine, or actors of a cluster.
        model_output: As in `predict_scene`.
        model_id: Identifies the model, such as a checksum of its weights. Maps of another model
            are made again. None for a digest of what `load` returns, for which `load` is called
            once more in this process. Plain functions have no digest.
        max_failures: Failures after which a scene is quarantined, including those of earlier runs.
        retry: Whether to try quarantined scenes again.
        progress: Called with each outcome.

    Returns:
        The outcome of every scene of the shard.

    Raises:
        ConfigError: If an argument does not make sense for many scenes, the model has no identity,
            Ray is not installed, or the first scenes all fail in the same way although they can be
            read.
        WriteError: If a folder for maps cannot be created.
        Exception: The exception of `load` in the first worker, before the others start.
    """
    start = time.perf_counter()
    if max_failures < 1:
        raise ConfigError(f'max_failures is {max_failures}: expected at least 1')
    if outputs.estimate_accuracy:
        raise ConfigError(
            'estimate_accuracy works for one scene at a time: leave it out, or map a single scene'
        )
    # the shard chooses scenes here; left in the request, it would also choose parts of each scene
    tasks = running.share_of(tasks)
    running = replace(running, shard=None)
    request = MapRequest(labels, windows, view.for_many(), outputs, running, model_output, model_id)
    files = _files_of(tasks, outputs)
    _make_folders({path.parent for path in files})
    outcomes: dict[Task, Outcome] = {}

    def settle(task: Task, outcome: Outcome) -> None:
        outcomes[task] = outcome
        if progress is not None:
            progress(outcome)

    with ExitStack() as stack:
        crew = None
        if model_id is None and tasks:  # only a worker that loaded the model can identify it
            crew = stack.enter_context(start_crew(load, request, workers))
            model_id = crew.model_id
        waiting: deque[Task] = deque()
        receipts = {task: SceneReceipt(task, request, model_id or '') for task in tasks}
        for task, receipt in receipts.items():
            known = receipt.settled(max_failures=max_failures, retry=retry)
            if known is None:
                waiting.append(task)
            else:
                settle(task, known)
        # a map of an earlier run proves that the settings and the model work
        has_maps = any(outcome.status == 'present' for outcome in outcomes.values())
        if waiting:
            for path in sorted(_files_of(waiting, outputs)):
                check_replaceable(path)
            # once for all scenes, because it scans whole folders
            _remove_leftovers(_files_of(waiting, outputs))
            if crew is None:
                crew = stack.enter_context(start_crew(load, request, workers))
            work = _Work(crew, waiting, receipts, workers=workers.count, max_failures=max_failures)
            for task, outcome in work.outcomes(is_proven=has_maps):
                settle(task, outcome)
    return Summary(tuple(outcomes[task] for task in tasks), time.perf_counter() - start)


def _files_of(tasks: Collection[Task], outputs: Outputs) -> set[Path]:
    """All rasters that will be written.

    Raises:
        ConfigError: If two would be the same file, or a file is where a folder is needed.
    """
    for product, folder in outputs.further.items():
        if folder.suffix.lower() in {'.tif', '.tiff'} or folder.is_file():
            raise ConfigError(
                f'{product} is {folder}: expected a folder for many scenes, whose files get the '
                'names of the maps'
            )
    files = [task.destination for task in tasks]
    for task in tasks:
        files += outputs.named(task.file_name).further.values()
    if outputs.further and len(set(map(os.path.abspath, files))) < len(files):
        raise ConfigError(
            f'maps and {", ".join(outputs.further)} would be the same files: choose a folder for '
            'each'
        )
    return set(files)


def _make_folders(folders: Collection[Path]) -> None:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(
                f'the folder {folder} cannot be created ({error}): check the path, and that you '
                'may write there'
            ) from error


def _remove_leftovers(destinations: Collection[Path]) -> None:
    """Remove the hidden folders of runs that were killed."""
    for folder in {path.parent for path in destinations}:
        for destination, leftover in list(find_leftovers(folder)):
            if destination in destinations:
                # a folder that another run is still writing is not a leftover
                with suppress(BusyError), only_writer([destination]):
                    shutil.rmtree(leftover)


class _Work:
    """Scenes that are left to map, and what happens to those that fail.

    Args:
        crew: Workers that have started.
        waiting: Scenes without a map.
        receipts: Receipts of all scenes.
        workers: How many scenes may run at a time.
        max_failures: Failures after which a scene is quarantined.
    """

    def __init__(
        self,
        crew: Crew,
        waiting: deque[Task],
        receipts: Mapping[Task, SceneReceipt],
        *,
        workers: int,
        max_failures: int,
    ) -> None:
        self._crew, self._waiting, self._receipts = crew, waiting, receipts
        self._workers, self._max_failures = workers, max_failures
        self._alone: deque[Task] = deque()  # each of these may have killed a worker
        self._elsewhere: deque[Task] = deque()  # another process is making these
        self._under_way, self._is_alone = 0, False
        self._alike: dict[str, list[Task]] = {}
        self._enough_alike = min(_ALIKE, len(waiting))

    def outcomes(self, *, is_proven: bool) -> Iterator[tuple[Task, Outcome]]:
        """Give scenes to the workers until every scene has an outcome.

        Args:
            is_proven: Whether some scene already has a map with these settings.
        """
        while self._waiting or self._alone or self._elsewhere or self._under_way:
            for task, made in self._give():
                is_proven = True
                yield task, made
            for task, result in self._crew.take() if self._under_way else ():
                self._under_way -= 1
                if isinstance(result, Outcome):
                    is_proven = True
                    self._receipts[task].write_done(result)
                    yield task, result
                    continue
                quarantined = self._judge(task, result)
                if result.cause == 'any' and not is_proven:
                    self._raise_if_alike(task, result.text)
                if quarantined is not None:
                    yield task, quarantined
            self._is_alone = self._is_alone and self._under_way > 0

    def _give(self) -> Iterator[tuple[Task, Outcome]]:
        """Hand out what may run now, and yield maps that another process has finished."""
        if self._elsewhere and not (self._waiting or self._alone or self._under_way):
            time.sleep(_PAUSE_S)
            self._waiting.extend(self._elsewhere)
            self._elsewhere.clear()
        while self._waiting and self._under_way < self._workers and not self._is_alone:
            task = self._waiting.popleft()
            # another run over the same list may have finished it since this one started
            made = self._receipts[task].present()
            if made is not None:
                yield task, made
                continue
            self._crew.give(task)
            self._under_way += 1
        if self._alone and self._under_way == 0:
            # a suspect runs again alone, so that no scene is blamed for another's memory
            self._crew.give(self._alone.popleft())
            self._under_way, self._is_alone = 1, True

    def _judge(self, task: Task, failure: Failure) -> Outcome | None:
        """Queue a failed scene for another try, or quarantine it."""
        if failure.cause == 'busy':
            self._elsewhere.append(task)
        elif failure.cause == 'died' and not self._is_alone:
            self._alone.append(task)
        elif self._receipts[task].write_failure(failure.text) < self._max_failures:
            (self._alone if failure.cause == 'died' else self._waiting).append(task)
        else:
            return Outcome(task.scene, str(task.destination), 'quarantined', error=failure.text)
        return None

    def _raise_if_alike(self, task: Task, text: str) -> None:
        # messages quote the scene, which would make equal failures look different
        nameless = text.replace(task.scene, '').replace(Path(task.scene).name, '')
        alike = self._alike.setdefault(nameless, [])
        if task not in alike:
            alike.append(task)
        if 2 <= self._enough_alike <= len(alike):
            # the settings are at fault, so these failures must not quarantine the scenes
            for one in alike:
                self._receipts[one].forget_failures()
            raise ConfigError(
                f'{len(alike)} scenes failed in the same way before any had a map, so the settings '
                f'or the model must be at fault: {text}'
            )
