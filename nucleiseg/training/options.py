"""How a model is trained. Imports no Keras, so that the command line can check its arguments at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nucleiseg._checks import (
    check_choice,
    check_count,
    check_flag,
    check_instance,
    check_range,
    check_size,
    hold_plain_numbers,
)
from nucleiseg._precision import Precision, check_precision
from nucleiseg.errors import InvalidInputError
from nucleiseg.training.augmentation import Augmentation

_LONGEST_AVERAGE = 0.99999  # over about 100,000 steps
_CROPS = 80  # of an epoch, where images are few: ten batches between two looks at the validation images


@dataclass(frozen=True)
class FitOptions:
    """How a model is trained.

    Parameters
    ----------
    batch_size : int
        Crops in a batch.
    crop : (int, int)
        Height and width of the crops, multiples of 32.
    augmentation : Augmentation or None
        Random changes of the training images.
    balance : str, optional
        Metadata, such as ``"modality"``, by whose values rare images are drawn more often; see `as_tf_dataset`.
    balance_area : bool
        Draw large images more often, in proportion to the square root of their pixels: a crop shows less of them.
    crops_per_image : int
        Training crops from each image in an epoch, on average: more make epochs longer, and validation rarer.
    validation_crops : int
        Crops of each validation image, always the same ones: more tell epochs apart better where images are few.
    frozen_epochs : int, optional
        Epochs with a frozen pretrained encoder; None means a fifth of all, at least one. An encoder with random weights
        is never frozen.
    learning_rate, fine_tune_rate : float
        Peak learning rates while the encoder is frozen (or random), and after.
    weight_decay : float
        Part of every weight that a step at rate 1 would take away (AdamW); normalisation is spared.
    averaging : float
        A running average of the weights that learn is kept instead of the last ones (``keep`` must be "last"): of the
        average before, each step keeps this share, such as .998, in [0, 1). Scores of the epochs are those of the
        weights that are averaged. 0 averages nothing.
    start_share : float
        Of the weights before the training, so much is mixed into those after it, in [0, 1): .5 takes half of each. A
        trained model that goes on then forgets less of what it knew [1]_. ``keep`` must be "last". 0 mixes nothing.
    freeze_statistics : bool
        While a pretrained encoder is fine-tuned, leave its batch normalisation as it is: batches of a few images would
        spoil its statistics. False lets it learn; that suits long trainings on many images.
    precision : "float32" or "mixed_bfloat16"
        What the inner layers compute in while training; weights, the first and the last layer stay in float32. With
        bfloat16 training is faster where the processor knows it (AVX512-BF16, AMX, recent GPUs), and slower elsewhere.
    patience : int
        A phase ends after this many epochs without improvement of what decides the best epoch. Without effect where
        ``keep`` is "last": every epoch counts as better than the one before, and all are trained.
    keep : "best" or "last"
        The epoch whose weights are kept. Scores of few validation images go up and down by chance, and after a long
        training, whose rate falls to nearly nothing, the last weights are the better choice.
    seed : int, optional
        Of the order of the images, the places of their crops, and the changes; None takes the model's. A model that
        goes on with the same one is shown the same crops as in the training before; another shows it new ones.

    References
    ----------
    .. [1] M. Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022.

    Examples
    --------
    >>> FitOptions(batch_size=4).crop
    (256, 256)
    """

    batch_size: int = 8
    crop: tuple[int, int] = (256, 256)
    augmentation: Augmentation | None = Augmentation()
    balance: str | None = None
    balance_area: bool = False
    crops_per_image: int = 1
    validation_crops: int = 1
    frozen_epochs: int | None = None
    learning_rate: float = 1e-3
    fine_tune_rate: float = 3e-4
    weight_decay: float = 0.0
    averaging: float = 0.0
    start_share: float = 0.0
    freeze_statistics: bool = True
    precision: Precision = "float32"
    patience: int = 10
    keep: Literal["best", "last"] = "best"
    seed: int | None = None

    @classmethod
    def for_few_images(cls, images: int) -> FitOptions:
        """What suits a trained model that goes on with 5 to 50 images: what `Segmenter.fit` does with it by default.

        Parameters
        ----------
        images : int
            To learn from. The fewer there are, the more crops an epoch has of each, about 80 in all.

        Examples
        --------
        >>> options = FitOptions.for_few_images(8)
        >>> options.frozen_epochs, options.crops_per_image
        (0, 10)
        """
        crops = max(1, round(_CROPS / check_count(images, "images")))
        return cls(
            crop=(192, 192),
            crops_per_image=crops,
            validation_crops=4,
            frozen_epochs=0,
            fine_tune_rate=1e-3,
            patience=30,  # scores of a few images go up and down by chance until the rate has fallen
        )

    def __post_init__(self) -> None:
        hold_plain_numbers(self)
        check_count(self.batch_size, "batch_size")
        check_count(self.patience, "patience")
        check_count(self.crops_per_image, "crops_per_image")
        check_count(self.validation_crops, "validation_crops")
        if self.augmentation is not None:
            check_instance(self.augmentation, Augmentation, "augmentation", "Augmentation(noise=0.1), or None")
        if self.balance is not None:
            check_instance(self.balance, str, "balance", "one column of the metadata, such as 'modality'")
        check_flag(self.balance_area, "balance_area")
        check_flag(self.freeze_statistics, "freeze_statistics")
        check_choice(self.keep, "keep", ("best", "last"))
        check_precision(self.precision)
        check_range(self.weight_decay, "weight_decay", 0, 1)
        check_range(self.averaging, "averaging", 0, _LONGEST_AVERAGE)
        check_range(self.start_share, "start_share", 0, 0.999)
        for name in ("averaging", "start_share"):
            if getattr(self, name) and self.keep != "last":
                raise InvalidInputError(
                    "averaged weights are kept from the last epoch, since scores of epochs are those of the weights "
                    f"before they are averaged, got {name} {getattr(self, name)} and keep {self.keep!r}; "
                    "pass keep='last'"
                )
        check_range(self.learning_rate, "learning_rate", 0, 10)
        check_range(self.fine_tune_rate, "fine_tune_rate", 0, 10)
        if any(length % 32 for length in check_size(self.crop, "crop")):
            raise InvalidInputError(
                f"crop must be multiples of 32, the coarsest stride of the network, got {self.crop}; "
                f"for example {tuple(32 * -(-length // 32) for length in self.crop)}"
            )
        if self.frozen_epochs is not None:
            check_count(self.frozen_epochs, "frozen_epochs", 0)
        if self.seed is not None:
            check_count(self.seed, "seed", 0)
