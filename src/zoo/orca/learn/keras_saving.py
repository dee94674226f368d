"""What an estimator of Keras models saves, loads and hands out."""

from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn import keras_files as files
from zoo.orca.learn.estimator import BaseEstimator


class KerasFiles(BaseEstimator):
    """Adds Keras's models and file formats to the one estimator."""

    def get_model(self) -> Any:
        """Return the Keras model with the estimator's weights, in this process.

        Before any `fit` or `load` it has the creator's own, new weights. Other models, seeds and
        policies of this process stay as they are.

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
            A local path or URL. One that ends in ``.keras`` or ``.h5`` gets the whole model as
            Keras writes it, which needs the framework on the driver; any other the estimator's
            state: weights, optimizer, epoch and step.

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

        A state restores everything, so that `fit` goes on as if it were the same session. Of a
        ``.keras`` or ``.h5`` file weights and optimizer are read, with the learning rate; nothing
        in either is executed, and epochs count from 0 again.

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
        """Write the weights alone, in Keras's format.

        Parameters
        ----------
        filepath : str
            A local path or URL that ends in ``.h5``; with Keras 3 in ``.weights.h5``.
        overwrite : bool
            Whether a local file that is there may be replaced.
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
        """Read the weights of a ``.keras`` or ``.h5`` file; of a ``.keras`` file the optimizer too.

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
