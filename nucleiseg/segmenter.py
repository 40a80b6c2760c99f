"""The one object that most users need: build, fit, look, predict, evaluate, save, load."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy.typing as npt

from nucleiseg._progress import progress
from nucleiseg._settings import SegmenterSettings, plain_path, plain_widths
from nucleiseg.engines.engine import computing_in, let_weights_change
from nucleiseg.engines.formats import find_format, keras_model
from nucleiseg.heads import get_head
from nucleiseg.images.sources import open_micrograph
from nucleiseg.inference import Evaluation, Prediction, PredictOptions
from nucleiseg.inference.evaluation import evaluate_images
from nucleiseg.inference.options import exact_options, given_options
from nucleiseg.inference.parts import usable_settings
from nucleiseg.inference.rescaling import segment_at_scale
from nucleiseg.inference.scaled_maps import maps_at_scale
from nucleiseg.inference.tuning import check_choosing, tune_settings
from nucleiseg.modelfile import write_model
from nucleiseg.networks import DEFAULT_WIDTHS
from nucleiseg.plotting import History, plot_architecture
from nucleiseg.pretrained import model_card, pretrained_path

if TYPE_CHECKING:
    import keras

    from nucleiseg.datasets import Dataset, Sample
    from nucleiseg.engines import Engine
    from nucleiseg.images import Micrograph
    from nucleiseg.training import FitOptions, TaughtImages

ImageInput: TypeAlias = "npt.ArrayLike | str | os.PathLike[str] | Micrograph"


class Segmenter:
    """A U-Net that finds nuclei, and all that is done with it.

    Parameters
    ----------
    encoder : str
        One of `nucleiseg.list_encoders`.
    weights : "imagenet", path or None
        Where the encoder's weights come from; None starts from random ones.
    head : str
        One of `nucleiseg.heads.list_heads`: what is learned and how it becomes nuclei.
    loss : str, optional
        One of `nucleiseg.training.losses.list_losses` instead of the head's own.
    upsampling : str
        One of `nucleiseg.networks.list_upsamplings`.
    widths : sequence of 5 int
        Channels of the upsampling path, from stride 16 to stride 1.
    convolutions : int
        3 × 3 convolutions after each of its skip connections.
    refine : bool
        A residual block at full resolution.
    scaling : str
        One of `nucleiseg.images.list_scalings`; applied to every image, in training and prediction.
    seed : int
        Decides the initial weights, the order of the data, crops and augmentation.
    deterministic : bool
        Training gives the same weights, bit for bit, on the same machine with the same versions; slower. Holds for the
        whole process from then on.

    Raises
    ------
    InvalidInputError
        A name that is not registered, a weights file that is missing, or a number out of its range.
    DownloadError
        ImageNet weights that are not on this machine and can't be downloaded.

    Examples
    --------
    >>> segmenter = Segmenter.from_pretrained("nuclei")
    >>> import skimage.data
    >>> result = segmenter.predict(skimage.data.immunohistochemistry()[:128, :128])
    >>> result.labels.shape
    (128, 128)
    """

    def __init__(
        self,
        encoder: str = "mobilenet_v2",
        weights: str | os.PathLike[str] | None = "imagenet",
        head: str = "semantic",
        *,
        loss: str | None = None,
        upsampling: str = "pix2pix",
        widths: Sequence[int] = DEFAULT_WIDTHS,
        convolutions: int = 0,
        refine: bool = False,
        scaling: str = "percentile",
        seed: int = 0,
        deterministic: bool = False,
    ) -> None:
        from nucleiseg.engines import KerasEngine
        from nucleiseg.learning import build_network

        wanted = get_head(head)
        self._settings = SegmenterSettings(
            encoder=encoder,
            weights=plain_path(weights),
            head=head,
            loss=wanted.loss if loss is None else loss,
            upsampling=upsampling,
            widths=plain_widths(widths),
            convolutions=convolutions,
            refine=refine,
            scaling=scaling,
            seed=seed,
            thresholds=dict(wanted.thresholds),
            deterministic=deterministic,
        )
        self._engine: Engine = KerasEngine(build_network(self._settings))

    @classmethod
    def from_pretrained(cls, name: str = "nuclei") -> Segmenter:
        """A model that is shipped with nucleiseg and works offline; see `nucleiseg.list_pretrained`.

        Raises
        ------
        InvalidInputError
            If there is no such model.
        """
        segmenter = cls.load(pretrained_path(name))
        segmenter._settings = replace(segmenter._settings, licence=model_card(name)["licence"])
        return segmenter

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Segmenter:
        """Read a model that `save` or `export` wrote. No code in the file is run.

        From an ``.onnx`` file it predicts, evaluates and tunes its thresholds without Keras; it can't be trained.

        Raises
        ------
        ModelFileError, InvalidInputError
            If the file is missing, damaged, foreign, of another ending, or needs a part that is not installed.
        MissingPackageError
            If the package that runs such a file is not installed.
        """
        kind = find_format(path)
        segmenter = cls.__new__(cls)
        segmenter._settings = usable_settings(kind, path)
        segmenter._engine = kind.load(Path(path))
        return segmenter

    def save(self, path: str | os.PathLike[str], half: bool = False) -> Path:
        """Write one ``.keras`` file with our settings as JSON inside it, atomically.

        Parameters
        ----------
        path : path
            Must end in ``.keras``.
        half : bool
            Keep the weights as 16-bit floats: half the size, probabilities that differ by less than 0.001.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InvalidInputError
            If the path does not end in ``.keras``.
        """
        return write_model(path, keras_model(self._engine), self._settings.to_json(), half)

    def export(self, path: str | os.PathLike[str], licence: str | None = None) -> Path:
        """Write the model for a runtime other than Keras, with the settings in the file's metadata, atomically.

        Parameters
        ----------
        path : path
            Ends in ``.onnx``, in ``.bioimage.zip`` for the BioImage Model Zoo, or in ``.keras`` as for `save`.
        licence : str, optional
            What the weights may be used under, such as ``"CC-BY-4.0"``; None keeps what the model says of itself.

        Returns
        -------
        Path
            The file; `load` reads it.

        Raises
        ------
        InvalidInputError
            If no format has that ending, or Keras doesn't run on TensorFlow, or the zoo lacks a licence.
        MissingPackageError
            If a package that writes the format is not installed.
        """
        settings = self._settings if licence is None else replace(self._settings, licence=licence)
        find_format(path).write(Path(path), self._engine, settings.to_json())
        return Path(path)

    @property
    def model(self) -> keras.Model:
        """The plain Keras model; none from ONNX. As it may be changed, prediction of small images is slower then."""
        let_weights_change(self._engine)  # whoever has the model may change them
        return keras_model(self._engine)

    @property
    def run(self) -> Mapping[str, Any]:
        """The manifest of the latest training: versions, seed, fingerprints of the images, options, command, times."""
        return dict(self._settings.run or {})

    @property
    def thresholds(self) -> Mapping[str, float]:
        """What the head's decoder cuts the maps at; ``min_area`` and ``min_confidence`` are what counts at least."""
        return dict(self._settings.thresholds)

    def fit(
        self,
        train: Dataset | TaughtImages,
        validation_data: Dataset | None = None,
        epochs: int = 30,
        options: FitOptions | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        watch: Callable[[History], object] | None = None,
    ) -> History:
        """Train in two phases: the upsampling path on a frozen encoder, then everything at a lower rate.

        The best weights are kept, by the score of the validation data that the head names: Dice, or average precision.
        A trained model goes on as a whole, and counts as epoch 0: where no epoch is better, it stays what it was. Else
        `optimize_thresholds` follows if it was used before; without validation data, confidence loses its calibration.
        To compare before and after on images of their own: `nucleiseg.fine_tune`.

        Parameters
        ----------
        train, validation_data : Dataset
            From `nucleiseg.datasets`, train also of `nucleiseg.teach`. Without validation data, the loss decides.
        epochs : int
            At most so many passes over the training data.
        options : FitOptions, optional
            Batch size, crops, rates; by default `FitOptions()`, and for a trained model `FitOptions.for_few_images`.
        checkpoint : path, optional
            A folder where the state is kept after every epoch.
        resume : bool
            Go on from the state in that folder, if there is one: same optimiser, same order of the data.
        watch : function, optional
            Called after every epoch with the history so far: `print`, or ``lambda now: now.to_csv("log.csv")``.

        Returns
        -------
        History
            One row an epoch, that of epoch 0 included; ``history.plot("curves.png")`` draws it.

        Raises
        ------
        InvalidInputError
            Empty data, a number below 1, a checkpoint that exists although ``resume`` is false, or one of a run with
            another network, other settings or other images.
        TrainingError
            The loss is no number any more, or memory lacks. Whatever ends training, the best weights so far are kept.

        Warns
        -----
        DatasetWarning, TrainingWarning
            Once: training data are wrong, see `nucleiseg.datasets.check`; no validation data for a trained model.
        """
        model, before = self.model, self._settings
        from nucleiseg.learning import is_tuned, train_network

        told = None if watch is None else lambda rows: watch(History(rows))
        run = train_network(model, before, train, validation_data, epochs, options, checkpoint, resume, told)
        self._settings = run.settings
        if run.error is not None:
            raise run.error
        if validation_data is not None and not run.is_as_before and is_tuned(before):
            self.optimize_thresholds(validation_data)
        return History(run.rows)

    @overload
    def predict(self, image: list[Any] | tuple[Any, ...], options: PredictOptions | None = ...) -> list[Prediction]: ...
    @overload
    def predict(self, image: ImageInput, options: PredictOptions | None = ...) -> Prediction: ...
    def predict(
        self, image: ImageInput | list[Any] | tuple[Any, ...], options: PredictOptions | None = None
    ) -> Prediction | list[Prediction]:
        """Find the nuclei of an image, or of several.

        Parameters
        ----------
        image : array-like (H, W) or (H, W, C), path, Micrograph, or list of these
            Any size and real dtype; grey, grey + alpha, RGB or RGBA. Other axes need ``options.reading``, which a
            `nucleiseg.images.Micrograph` has been through. Zarr and Dask arrays are read as a whole; larger than
            memory: `predict_large`. A list (or tuple) gives a list of results.
        options : PredictOptions, optional
            Threshold, smallest area, scale, tiles, test-time augmentation, channel and planes.

        Returns
        -------
        Prediction, or list of Prediction
            With the height and width of the input.

        Raises
        ------
        InvalidInputError, ImageFileError
            If the array is no image, a file can't be read, or it is left open which part of either to use.
        """
        if isinstance(image, (list, tuple)):
            return [self.predict(one, options) for one in progress(image, "predicting", len(image))]
        options = given_options(options)
        source = open_micrograph(image, options.reading)
        return segment_at_scale(source, computing_in(self._engine, options.precision), self._settings, options)

    def evaluate(
        self,
        data: Dataset,
        options: PredictOptions | None = None,
        group: str = "modality",
        watch: Callable[[Sample, Prediction], object] | None = None,
    ) -> Evaluation:
        """Predict whole images and compare the nuclei with the truth.

        Parameters
        ----------
        data : Dataset
            Labelled images.
        options : PredictOptions, optional
            As for `predict`. With ``remove_edge``, true nuclei at the edge don't count either, nor what matches them.
        group : str
            Metadata by which scores are reported separately, where the data has it.
        watch : function, optional
            Called with every sample and what was found in it, to draw or keep it.

        Returns
        -------
        Evaluation
            A table that prints; ``.to_dict()`` for machines.

        Raises
        ------
        InvalidInputError
            If the dataset is empty or none, or a group is called "all".
        """
        return evaluate_images(data, lambda sample: self.predict(sample.image, options), group, watch, options)

    def optimize_thresholds(self, data: Dataset, options: PredictOptions | None = None) -> Mapping[str, float]:
        """Choose, by labelled images, what the maps are cut at and the smallest area, and keep it in the model.

        The confidence of nuclei is calibrated on the same images. The score is the average precision over IoU .5 to
        .95, half of all nuclei, half a mean over images. Choose on validation data: a score of it is too good then.

        Parameters
        ----------
        data : Dataset
            Labelled images; their maps are held in memory, of images that are magnified as many times as large.
        options : PredictOptions, optional
            As for `predict`, whose scale is used, but no threshold, and a ``min_area`` not chosen anew. Precision
            "auto" is float32 here: what the model keeps hangs on no processor.

        Returns
        -------
        mapping of str to float
            The new `thresholds`.

        Raises
        ------
        InvalidInputError
            If the dataset is empty or none, or options are of another kind.
        """
        check_choosing(data)
        options, settings = exact_options(options), self._settings
        engine, reading = computing_in(self._engine, options.precision), options.reading
        cases = [
            (sample.labels, *maps_at_scale(open_micrograph(sample.image, reading), engine, settings, options))
            for sample in progress(data, "predicting", len(data))
        ]
        self._settings = tune_settings(settings, cases, options.min_area)
        return self.thresholds

    def plot_architecture(self, path: str | os.PathLike[str], part: Literal["unet", "encoder"] = "unet") -> Path:
        """Draw the network as a picture, one box a stage.

        Parameters
        ----------
        path : path
            A PNG, PDF or SVG file.
        part : "unet" or "encoder"
            The whole network, or the base model alone.

        Returns
        -------
        Path
            The file.
        """
        return plot_architecture(keras_model(self._engine), path, part=part)

    def __repr__(self) -> str:
        settings, model = self._settings, getattr(self._engine, "model", None)
        what = type(self._engine).__name__ if model is None else f"parameters={model.count_params():,}"
        return f"Segmenter(encoder={settings.encoder!r}, head={settings.head!r}, {what})"
