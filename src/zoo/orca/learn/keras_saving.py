"""What an estimator of Keras models saves, loads and returns."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn import keras_files as files
from zoo.orca.learn.files.kinds import CHECKPOINT, SAVED_MODEL, STATE, keras_kind
from zoo.orca.learn.files.latest import latest_checkpoint
from zoo.orca.learn.files.states import weights_alone, without_optimizer
from zoo.orca.learn.predicting.column_function import ColumnPredictions

#: What `save_format` may be, and the kind of file that it means.
_FORMATS = {"tf": SAVED_MODEL, "h5": ".h5", "keras": ".keras"}


class KerasFiles(ColumnPredictions):
    """Adds Keras's models and file formats to the base estimator."""

    latest_checkpoint = staticmethod(latest_checkpoint)

    def get_model(self, sample_input: Any = None, set_weights: bool = True) -> Any:
        """Return the Keras model with the estimator's weights, in this process.

        Before any `fit` or `load` it has the creator's initial weights. Other models, seeds and
        policies in this process do not change.

        Parameters
        ----------
        sample_input : object, optional
            Called with, if given: the weights of a model that is built by its first batch need it
            before any `fit`.
        set_weights : bool
            False returns the model as its creator makes it.

        Raises
        ------
        MissingPackageError
            If the framework is not installed on the driver.
        """
        job = self._driver_job()
        return files.get_model(job if set_weights else replace(job, state=None), sample_input)

    def save(
        self,
        path: str,
        overwrite: bool = True,
        include_optimizer: bool = True,
        save_format: str | None = None,
        signatures: Any = None,
        options: Any = None,
    ) -> str:
        """Write the state to one safetensors file, or the model in one of Keras's formats.

        Before the first `fit`, that is the model as it was made, which takes a short job.

        Parameters
        ----------
        path : str
            A local path or URL. If it ends in ``.keras`` or ``.h5``, Keras writes the whole model,
            which needs the framework on the driver. Any other file gets the estimator's state:
            weights, optimizer, epoch and step.
        overwrite : bool
            Whether an existing file may be replaced.
        include_optimizer : bool
            False leaves the optimizer's variables out.
        save_format : str, optional
            "keras", "h5" or "tf", which is a SavedModel of Keras 2, whatever the path's ending.
        signatures, options : optional
            TensorFlow's, for a SavedModel.

        Returns
        -------
        str
            `path`.
        """
        place = str(path)
        kind = self._format(place, save_format)
        if kind != SAVED_MODEL and (signatures is not None or options is not None):
            raise InvalidInputError(
                "signatures and options belong to a SavedModel\n"
                "Pass save_format='tf', or leave them out"
            )
        files.check_overwrite(place, overwrite)
        state = self._made_state()
        if kind == STATE:
            self._write(state if include_optimizer else without_optimizer(state), place)
            return path
        given: dict[str, Any] = {} if include_optimizer else {"include_optimizer": False}
        if kind == SAVED_MODEL:
            given.update(signatures=signatures, options=options)
        files.save_model(self._driver_job(state), place, kind, given)
        return path

    def _format(self, path: str, save_format: str | None) -> str:
        if save_format is None:
            return next((ending for ending in files.ENDINGS if path.endswith(ending)), STATE)
        if save_format not in _FORMATS:
            raise InvalidInputError(
                f"save_format must be one of {tuple(_FORMATS)}, got {save_format!r}\n"
                "Leave it out: the path's ending says the format"
            )
        return _FORMATS[save_format]

    def load(
        self,
        path: str,
        custom_objects: Mapping[str, Any] | None = None,
        compile: bool = True,
        options: None = None,
        *,
        safe_mode: bool = True,
    ) -> None:
        """Read what `save` wrote.

        A state restores everything: `fit` continues as if it were the same session. A file of
        Keras's gives weights, optimizer and learning rate, and epochs count from 0 again. If the
        estimator has no `model_creator`, the file's model becomes the estimator's: it travels to
        the workers as it is.

        Parameters
        ----------
        path : str
            A local path or URL: a state, a ``.keras`` or ``.h5`` file, or the directory of a
            SavedModel (Keras 2 only).
        custom_objects : dict, optional
            Classes and functions of your own in the file's model, by name.
        compile : bool
            False leaves out optimizer, loss and metrics.
        options : None
            Accepted as in Orca.
        safe_mode : bool
            False lets `Lambda` layers run the code that the file has for them.

        Raises
        ------
        StateError
            If the file cannot be read, does not fit, or holds code.
        """
        place = str(path)
        kind = keras_kind(place)
        if kind == STATE:
            super().load(path)
        elif self._makes_model:
            given: dict[str, Any] = {"whole": compile, "custom_objects": custom_objects}
            state = files.load_weights(self._driver_job(), place, kind, **given)
            self._adopt(state if compile else without_optimizer(state))
        else:
            whole = files.whole_model(
                self._driver_job(checked=False),
                place,
                kind,
                custom_objects=custom_objects,
                compile=compile,
                safe_mode=safe_mode,
            )
            self._use_creator(whole)

    def save_weights(
        self, filepath: str, overwrite: bool = True, save_format: str | None = None
    ) -> None:
        """Write only the weights, in Keras's format.

        Parameters
        ----------
        filepath : str
            A local path or URL. If it ends in ``.h5``, with Keras 3 in ``.weights.h5``, it is one
            file. With Keras 2 any other path is the prefix of the files of a checkpoint of
            TensorFlow.
        overwrite : bool
            Whether an existing file may be replaced.
        save_format : str, optional
            "h5" or "tf", whatever the path's ending.
        """
        kinds: dict[str | None, str] = {
            None: ".h5" if str(filepath).endswith(".h5") else CHECKPOINT
        }
        kinds |= {"h5": ".h5", "tf": CHECKPOINT, "tensorflow": CHECKPOINT}
        if save_format not in kinds:
            raise InvalidInputError(
                f"save_format must be 'h5' or 'tf', got {save_format!r}\nLeave it out"
            )
        kind, place = kinds[save_format], str(filepath)
        files.check_overwrite(f"{place}.index" if kind == CHECKPOINT else place, overwrite)
        files.save_weights(self._driver_job(self._made_state()), place, kind)

    def load_weights(self, filepath: str, by_name: bool = False) -> None:
        """Read the weights of a file; from ``.keras`` the optimizer, too.

        Parameters
        ----------
        filepath : str
            A local path or URL of a ``.keras`` or ``.h5`` file, or with Keras 2 the prefix of a
            checkpoint of TensorFlow.
        by_name : bool
            True reads the layers of an ``.h5`` file that the model has by name; all others keep
            their weights. By default weights are matched by the model's structure.

        Raises
        ------
        StateError
            If the file cannot be read, or does not fit.
        """
        place = str(filepath)
        kind = keras_kind(place)
        if by_name and kind != ".h5":
            raise InvalidInputError(
                f"by_name reads .h5 files alone, and {place} is none\n"
                "Leave it out: weights are matched by structure"
            )
        if kind == STATE:
            self._adopt(weights_alone(self._read_state(place)))
        else:
            job = self._driver_job()
            self._adopt(files.load_weights(job, place, kind, by_name=by_name))
