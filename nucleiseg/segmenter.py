"""The one object that most users need: build, fit, look, predict, evaluate, save, load."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy.typing as npt

from nucleiseg._checks import check_choice, check_count
from nucleiseg._progress import progress
from nucleiseg._seeding import seeded
from nucleiseg._settings import SegmenterSettings
from nucleiseg.datasets.doctor import warn_about_errors
from nucleiseg.engines import KerasEngine
from nucleiseg.errors import InvalidInputError, ModelFileError
from nucleiseg.heads import get_head
from nucleiseg.images import as_micrograph, list_scalings, read_micrograph
from nucleiseg.inference import (
    Evaluation,
    ImageScore,
    Prediction,
    PredictOptions,
    decoding_score,
    predict_maps,
    tune_thresholds,
)
from nucleiseg.instances import filter_labels, get_decoder, match
from nucleiseg.modelfile import read_model, write_model
from nucleiseg.networks import DEFAULT_WIDTHS, get_encoder, unet
from nucleiseg.plotting import History, plot_architecture
from nucleiseg.pretrained import pretrained_path
from nucleiseg.training import Checkpoint, FitOptions, Task, losses
from nucleiseg.training.runs import run_training

if TYPE_CHECKING:
    import keras

    from nucleiseg.datasets import Dataset, Sample

ImageInput: TypeAlias = "npt.ArrayLike | str | os.PathLike[str]"


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
        scaling: str = "percentile",
        seed: int = 0,
        deterministic: bool = False,
    ) -> None:
        wanted = get_head(head)
        loss = check_choice(wanted.loss if loss is None else loss, "loss", losses.list_losses())
        check_choice(scaling, "scaling", list_scalings())
        check_count(seed, "seed", 0)
        self._settings = SegmenterSettings(
            encoder=encoder,
            weights=None if weights is None else os.fspath(weights),
            head=head,
            loss=loss,
            upsampling=upsampling,
            widths=tuple(widths),
            scaling=scaling,
            seed=seed,
            thresholds=dict(wanted.thresholds),
            deterministic=deterministic,
        )
        with seeded(seed):
            self._model = unet(
                get_encoder(encoder, weights),
                channels=wanted.channels,
                activation=wanted.activation,
                upsampling=upsampling,
                widths=widths,
            )

    @classmethod
    def from_pretrained(cls, name: str = "nuclei") -> Segmenter:
        """A model that is shipped with nucleiseg and works offline; see `nucleiseg.list_pretrained`.

        Raises
        ------
        InvalidInputError
            If there is no such model.
        """
        return cls.load(pretrained_path(name))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Segmenter:
        """Read a model that `save` wrote. No code in the file is run.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged, or was not saved by nucleiseg.
        """
        model, settings = read_model(path)
        segmenter = cls.__new__(cls)
        segmenter._model = model
        try:
            stored = settings["segmenter"]
            segmenter._settings = SegmenterSettings(**{**stored, "widths": tuple(stored["widths"])})
        except (KeyError, TypeError) as error:
            raise ModelFileError(
                f"{os.fspath(path)} holds no settings of a Segmenter ({error}); save it with Segmenter.save"
            ) from error
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
        return write_model(path, self._model, {"segmenter": asdict(self._settings)}, half)

    @property
    def model(self) -> keras.Model:
        """The plain functional Keras model, for those who go on by themselves."""
        return self._model

    @property
    def run(self) -> Mapping[str, Any]:
        """The manifest of the latest training: versions, seed, fingerprints of the images, options, command, times."""
        return dict(self._settings.run or {})

    @property
    def thresholds(self) -> Mapping[str, float]:
        """What the head's decoder cuts the maps at."""
        return dict(self._settings.thresholds)

    def fit(
        self,
        train: Dataset,
        validation_data: Dataset | None = None,
        epochs: int = 30,
        options: FitOptions | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> History:
        """Train in two phases: the upsampling path on a frozen encoder, then everything at a lower rate.

        The best weights, by the Dice coefficient of the validation data, are kept.

        Parameters
        ----------
        train, validation_data : Dataset
            From `nucleiseg.datasets`; without validation data, the training loss decides which weights are best.
        epochs : int
            At most so many passes over the training data.
        options : FitOptions, optional
            Batch size, crops, augmentation, rates, patience.
        checkpoint : path, optional
            A folder where the state is kept after every epoch.
        resume : bool
            Go on from the state in that folder, if there is one: same optimiser, same order of the data.

        Returns
        -------
        History
            One row an epoch; ``history.plot("curves.png")`` draws it.

        Raises
        ------
        InvalidInputError
            Empty data, a number below 1, a checkpoint that exists although ``resume`` is false, or one that belongs to
            a run with another network, other settings or other images.
        TrainingError
            If the loss is no number any more, or memory does not suffice; the model then has its best weights so far.

        Warns
        -----
        DatasetWarning
            Once, if some of the training images or labels are plainly wrong; see `nucleiseg.datasets.check`.
        """
        keeper = Checkpoint.for_run(checkpoint, resume)
        settings, head, options = self._settings, get_head(self._settings.head), options or FitOptions()
        warn_about_errors(train, semantic=head.target == "mask")
        task = Task(head.target, settings.scaling, settings.loss, head.foreground)
        run = run_training(self._model, settings, task, train, validation_data, epochs, options, keeper)
        self._settings = run.settings
        if run.error is not None:
            raise run.error
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
        image : array-like (H, W) or (H, W, C), path, or list of these
            Any size and real dtype; grey, grey + alpha, RGB or RGBA. Other axes need ``options.reading``. A list (or
            tuple) gives a list of results.
        options : PredictOptions, optional
            Threshold, smallest area, tiles, test-time augmentation, channel and planes.

        Returns
        -------
        Prediction, or list of Prediction
            With the height and width of the input.

        Raises
        ------
        InvalidInputError
            If the array is no image, or it is left open which part of it to use.
        ImageFileError
            If a file can't be read, or it is left open which part of it to use.
        """
        if isinstance(image, (list, tuple)):
            return [self.predict(one, options) for one in progress(image, "predicting", len(image))]
        options = options or PredictOptions()
        if isinstance(image, (str, os.PathLike)):
            source = read_micrograph(image, options.reading)
        else:
            source = as_micrograph(image, options.reading)
        maps = predict_maps(source.shown, self._engine, self._settings.scaling, options)
        thresholds = dict(self._settings.thresholds)
        if options.threshold is not None:
            thresholds["probability"] = options.threshold
        decode = get_decoder(get_head(self._settings.head).decoder)
        # Holes count towards the area once they are filled.
        probability, labels = decode(maps, thresholds, 0 if options.fill_holes else options.min_area)
        if options.fill_holes or options.remove_edge:
            labels = filter_labels(
                labels, options.min_area, remove_edge=options.remove_edge, fill_holes=options.fill_holes
            )
        return Prediction(source.shown, probability, labels, source)

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
            As for `predict`.
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
            If the dataset is empty.
        """
        scores = []
        for sample in progress(data, "evaluating", len(data)):
            found = self.predict(sample.image, options)
            if watch is not None:
                watch(sample, found)
            counts = match(sample.labels, found.labels)
            scores.append(ImageScore(sample.id, str(sample.metadata.get(group, "")), counts))
        return Evaluation(scores)

    def optimize_thresholds(self, data: Dataset, options: PredictOptions | None = None) -> Mapping[str, float]:
        """Choose what the maps are cut at by the nuclei of labelled images, and keep it in the model.

        The score is the average precision, pooled over the images, averaged over IoU thresholds .5 to .95. Choose on
        validation data; a score on the same images is too good afterwards.

        Parameters
        ----------
        data : Dataset
            Labelled images; their maps are held in memory.
        options : PredictOptions, optional
            As for `predict`; its threshold is not used.

        Returns
        -------
        mapping of str to float
            The new `thresholds`.

        Raises
        ------
        InvalidInputError
            If the dataset is empty.
        """
        if not len(data):
            raise InvalidInputError("thresholds are chosen on labelled images, got an empty dataset; check the split")
        options = options or PredictOptions()
        settings = self._settings
        cases = [
            (sample.labels, predict_maps(sample.image, self._engine, settings.scaling, options))
            for sample in progress(data, "predicting", len(data))
        ]
        score = decoding_score(cases, get_decoder(get_head(settings.head).decoder), options.min_area)
        self._settings = replace(settings, thresholds=tune_thresholds(score, settings.thresholds))
        return self.thresholds

    def plot_architecture(self, path: str | os.PathLike[str], part: Literal["unet", "encoder"] = "unet") -> Path:
        """Draw the network as a picture, one box a stage.

        Parameters
        ----------
        path : path
            A PNG file.
        part : "unet" or "encoder"
            The whole network, or the base model alone.

        Returns
        -------
        Path
            The file.
        """
        return plot_architecture(self._model, path, part=part)

    @cached_property
    def _engine(self) -> KerasEngine:
        return KerasEngine(self._model)

    def __repr__(self) -> str:
        settings = self._settings
        parameters = f"{self._model.count_params():,}"
        return f"Segmenter(encoder={settings.encoder!r}, head={settings.head!r}, parameters={parameters})"
