"""What an estimator of Keras models saves, loads and returns."""

from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn import keras_files as files
from zoo.orca.learn.estimator import BaseEstimator


class KerasFiles(BaseEstimator):
    """Adds Keras's models and file formats to the base estimator."""

    def get_model(self) -> Any:
        """Return the Keras model with the estimator's weights, in this process.

        Before any `fit` or `load` it has the creator's initial weights. Other models, seeds and
        policies in this process do not change.

        Raises
        ------
        MissingPackageError
            If the framework is not installed on the driver.
        """
        return files.get_model(self._driver_job())

    def save(self, path: str) -> str:
        """Write the state to one safetensors file, or the model in one of Keras's formats.

        Parameters
        ----------
        path : str
            A local path or URL. If it ends in ``.keras`` or ``.h5``, Keras writes the whole model,
            which needs the framework on the driver. Any other file gets the estimator's state:
            weights, optimizer, epoch and step.

        Returns
        -------
        str
            `path`.

        Raises
        ------
        StateError
            If there is nothing to save before the first `fit` or `load`.
        """
        if not files.is_keras_path(str(path)):
            return super().save(path)
        self._required_state("save")
        files.save_model(self._driver_job(), str(path))
        return path

    def load(self, path: str) -> None:
        """Read what `save` wrote.

        A state restores everything: `fit` continues as if it were the same session. A ``.keras`` or
        ``.h5`` file gives weights, optimizer and learning rate, and epochs count from 0 again.
        Nothing in either is executed.

        Raises
        ------
        StateError
            If the file cannot be read, or does not fit.
        """
        if files.is_keras_path(str(path)):
            self._adopt(files.load_weights(self._driver_job(), str(path), whole=True))
        else:
            super().load(path)

    def save_weights(
        self, filepath: str, overwrite: bool = True, save_format: str | None = None
    ) -> None:
        """Write only the weights, in Keras's format.

        Parameters
        ----------
        filepath : str
            A local path or URL that ends in ``.h5``; with Keras 3 in ``.weights.h5``.
        overwrite : bool
            Whether an existing local file may be replaced.
        save_format : str, optional
            None or "h5".

        Raises
        ------
        StateError
            If there is nothing to save before the first `fit` or `load`.
        """
        if save_format not in (None, "h5"):
            raise InvalidInputError(f"save_format must be 'h5', got {save_format!r}\nLeave it out")
        self._required_state("save")
        files.save_weights(self._driver_job(), str(filepath), overwrite)

    def load_weights(self, filepath: str, by_name: bool = False) -> None:
        """Read the weights of a ``.keras`` or ``.h5`` file; from ``.keras`` the optimizer, too.

        Parameters
        ----------
        filepath : str
            A local path or URL.
        by_name : bool
            Must be False: weights are matched by the model's structure.

        Raises
        ------
        StateError
            If the file cannot be read, or does not fit.
        """
        if by_name:
            raise InvalidInputError(
                "by_name is not supported\nLeave it out: weights are matched by structure"
            )
        self._adopt(files.load_weights(self._driver_job(), str(filepath)))
