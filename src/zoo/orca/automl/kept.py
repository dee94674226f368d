"""The best model of a search: in memory, and in a file if the search itself is stored."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from zoo.orca.errors import OrcaError, StateError
from zoo.orca.files import list_names, remove_file

_logger = logging.getLogger(__name__)


class KeptModel:
    """Holds one estimator, that of the best trial.

    Parameters
    ----------
    directory : str
        Where its state is written.
    make : callable
        Returns an estimator for a configuration.

    Attributes
    ----------
    stays : bool
        Whether the state is written, for programs that go on with the search.
    """

    def __init__(self, directory: str, make: Callable[[dict[str, Any]], Any]) -> None:
        self._directory, self._make = directory, make
        self._number: int | None = None
        self._estimator: Any = None
        self._config: Mapping[str, Any] | None = None
        self.stays = False

    def keep(self, number: int, config: Mapping[str, Any], estimator: Any) -> None:
        """Keep the model of a trial that is better than all before it."""
        if self.stays:
            estimator.save(self._path(number))
        self._number, self._config, self._estimator = number, config, estimator

    def tidy(self) -> None:
        """Remove the files of former best models; called once the study knows the new one."""
        if not self.stays or self._number is None:
            return
        own = self._path(self._number).rpartition("/")[2]
        try:
            for name in list_names(self._directory):
                if name.startswith("trial-") and name != own:
                    remove_file(f"{self._directory}/{name}")
        except (OSError, OrcaError) as error:
            _logger.warning("%s: an older model cannot be removed: %s", self._directory, error)

    def config_of(self, trial: Any) -> Mapping[str, Any] | None:
        """Return a trial's configuration as it was drawn; None if another program has run it."""
        return self._config if trial.number == self._number else None

    def estimator(self, trial: Any, settings: dict[str, Any]) -> Any:
        """Return an estimator with a trial's model.

        Raises
        ------
        StateError
            If the model is not where it was kept.
        """
        if trial.number == self._number:
            return self._estimator
        made, path = self._make(settings), self._path(trial.number)
        try:
            made.load(path)
        except StateError as error:
            raise StateError(
                f"the best model, of trial {trial.number}, cannot be read: {error}\n"
                "Give the AutoEstimator the logs_dir of the program that ran this trial"
            ) from error
        return made

    def _path(self, number: int) -> str:
        return f"{self._directory}/trial-{number}.safetensors"
