"""An estimator's curves for TensorBoard: what Orca calls the train and validation summary."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

from zoo.orca.driver.reports.epochs import EpochEnd, Epochs
from zoo.orca.errors import InvalidInputError, MissingPackageError, StateError
from zoo.orca.learn.arguments import is_there
from zoo.orca.learn.tracking.event_files import EventFile

_logger = logging.getLogger(__name__)

#: What a history calls the results of validation.
_VALIDATION = "val_"
#: One value of a curve: the epoch, counted from 1, the value, and the time in seconds.
Point = list[float]


class Summary:
    """The curves of all of an estimator's `fit` calls, in memory and in files.

    Parameters
    ----------
    directory : str
        Below it the files are in ``train`` and ``validation``.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._points: dict[str, dict[str, list[Point]]] = {"train": {}, "validation": {}}
        self._files: dict[str, EventFile] = {}
        self._writes = True

    def begin(self) -> None:
        """Give the `fit` that begins files of its own."""
        self._files, self._writes = {}, True

    def add(self, end: EpochEnd) -> None:
        """Keep an epoch's values, and write them; a disk that is full does not end the training."""
        at, step = time.time(), end.epoch
        for part, values in _parted(end.logs).items():
            if not values:
                continue
            for tag, value in values.items():
                curve = self._points[part].setdefault(tag, [])
                # A state that was loaded may be of an earlier epoch.
                curve[:] = [point for point in curve if point[0] < step]
                curve.append([step, value, at])
            if self._writes:
                self._write(part, step, values, at)

    def _write(self, part: str, step: int, values: Mapping[str, float], at: float) -> None:
        if part not in self._files:
            self._files[part] = EventFile(f"{self._directory}/{part}")
        try:
            self._files[part].add(step, values, at)
        except Exception as error:  # whatever a filesystem raises: pyarrow's, or any of fsspec's
            self._writes = False
            _logger.warning("this fit writes no more event files for TensorBoard: %s", error)

    def curve(self, part: str, tag: str | None) -> list[Point]:
        """Return the points of one curve.

        Raises
        ------
        InvalidInputError
            If there is none of that name.
        """
        found = self._points[part]
        wanted = "loss" if tag is None else tag
        names = {name.lower(): name for name in found}
        own = wanted.lower().removeprefix(_VALIDATION if part == "validation" else "")
        if own in names:
            return [list(point) for point in found[names[own]]]
        if not found:
            without = " with validation_data" if part == "validation" else ""
            raise InvalidInputError(
                f"there is no {part} summary yet\nCall fit{without} first, after set_tensorboard"
            )
        raise InvalidInputError(
            f"tag={tag!r} is no curve of the {part} summary\nWrite one of {list(found)}"
        )


class Summaries:
    """Adds TensorBoard's summaries to the base estimator."""

    _summary: Summary | None = None

    def set_tensorboard(self, log_dir: str, app_name: str) -> None:
        """Let each `fit` that follows write event files for TensorBoard.

        This program writes them, at the end of each epoch: the training's values to
        ``LOG_DIR/APP_NAME/train`` and those of validation to ``LOG_DIR/APP_NAME/validation``. The
        step of a value is the number of its epoch, counted from 1.

        Parameters
        ----------
        log_dir : str
            A local path or any URL that pyarrow or fsspec opens.
        app_name : str
            The directory's name within it.

        Raises
        ------
        MissingPackageError
            If `tensorboard` is not installed here.
        InvalidInputError
            If one of them is no path or name.
        """
        for name, given in (("log_dir", log_dir), ("app_name", app_name)):
            if not isinstance(given, (str, os.PathLike)) or not str(given):
                raise InvalidInputError(
                    f"{name} must be a path or a name, got {given!r}\n"
                    "Write for example est.set_tensorboard('logs', 'first')"
                )
        if not is_there("tensorboard"):
            raise MissingPackageError(
                "set_tensorboard needs the package tensorboard, which is not installed here\n"
                "Install it: pip install 'zoo-orca[tensorboard]'"
            )
        self._summary = Summary(f"{str(log_dir).rstrip('/')}/{app_name}")

    def get_train_summary(self, tag: str | None = None) -> list[Point]:
        """Return one curve of the training, as this estimator has written it.

        Parameters
        ----------
        tag : str, optional
            The name of a value, as in ``.history``; by default the loss.

        Returns
        -------
        list of list
            ``[epoch, value, time]`` for each epoch, which counts from 1; the time in seconds.

        Raises
        ------
        StateError
            If `set_tensorboard` was not called.
        InvalidInputError
            If there is no such curve; names those that there are.
        """
        return self._set_summary("get_train_summary").curve("train", tag)

    def get_validation_summary(self, tag: str | None = None) -> list[Point]:
        """Return one curve of the validation, as `get_train_summary` does.

        Parameters
        ----------
        tag : str, optional
            The name of a value, with or without ``val_``; by default the loss.
        """
        return self._set_summary("get_validation_summary").curve("validation", tag)

    def _set_summary(self, what: str) -> Summary:
        if self._summary is None:
            raise StateError(
                f"{what}: nothing has been recorded\nCall set_tensorboard(log_dir, app_name) "
                "before fit"
            )
        return self._summary

    def _summarise(self, epochs: Epochs) -> None:
        """Let the summaries hear of a call's epochs, if there are any."""
        if self._summary is not None:
            self._summary.begin()
            epochs.also(self._summary.add)


def _parted(logs: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the values of training and of validation, by their own names."""
    found: dict[str, dict[str, float]] = {"train": {}, "validation": {}}
    for name, value in logs.items():
        if name.startswith(_VALIDATION):
            found["validation"][name.removeprefix(_VALIDATION)] = value
        elif name != "num_samples":  # the rows of an epoch are no result
            found["train"][name] = value
    return found
