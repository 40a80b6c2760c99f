"""A head: target, loss and decoder that belong together, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nucleiseg._checks import check_choice, check_count, check_instance, check_range
from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.decoders import THRESHOLDS

if TYPE_CHECKING:
    from nucleiseg.training.phases import Task


@dataclass(frozen=True)
class Head:
    """What a network is trained to put out, and how that becomes nuclei.

    Parameters
    ----------
    name : str
        Name under which it is registered.
    target : str
        One of `nucleiseg.training.list_targets`: labels → maps to learn.
    channels : int
        Output maps of the network.
    activation : str
        Activation of the maps.
    loss : str
        One of `nucleiseg.training.losses.list_losses`.
    decoder : str
        One of `nucleiseg.instances.list_decoders`: maps → probability and labels. Decoders know no Keras.
    thresholds : mapping of str to float
        Defaults of what the decoder can be tuned by.
    foreground : tuple of int
        The maps whose sum is the probability of being nucleus; progress is measured by it.
    monitor : "val_dice" or "val_ap"
        Which score of the validation data decides the best epoch: that of the mask, or that of the nuclei, the average
        precision over IoU .5 to .95.

    Raises
    ------
    InvalidInputError
        If a number is out of its range, or a threshold is missing that one of our own decoders needs. Names are looked
        up when they are used: what they stand for may come later.

    Examples
    --------
    >>> get_head("semantic").loss
    'bce_dice'
    """

    name: str
    target: str
    channels: int
    activation: str
    loss: str
    decoder: str
    thresholds: Mapping[str, float] = field(default_factory=dict)
    foreground: tuple[int, ...] = (0,)
    monitor: str = "val_dice"

    def __post_init__(self) -> None:
        check_count(self.channels, "channels")
        for number in self.foreground:
            if check_count(number, "foreground", 0) >= self.channels:
                raise InvalidInputError(
                    f"foreground must name some of {self.channels} channels, from 0, got {self.foreground}"
                )
        check_choice(self.monitor, "monitor", ("val_dice", "val_ap"))
        for name, value in self.thresholds.items():
            check_range(value, f"threshold {name!r}", 0, 1)
        lacking = [name for name in THRESHOLDS.get(self.decoder, ()) if name not in self.thresholds]
        if lacking:
            raise InvalidInputError(
                f"the decoder {self.decoder!r} cuts maps at {' and '.join(lacking)}, got no such threshold; pass "
                f"thresholds={dict.fromkeys(THRESHOLDS[self.decoder], 0.5)}"
            )

    def task(self, scaling: str, loss: str | None = None) -> Task:
        """What a network with this head is trained for, by another loss if that is named.

        Examples
        --------
        >>> get_head("distance").task("percentile").loss
        'mask_and_depth'
        """
        from nucleiseg.training.phases import Task

        return Task(
            target=self.target,
            scaling=scaling,
            loss=loss or self.loss,
            foreground=self.foreground,
            decoder=self.decoder,
            thresholds=self.thresholds,
            monitor=self.monitor,
        )


_heads: Registry[Head] = Registry("head", group="nucleiseg.heads")


def register_head(head: Head) -> Head:
    """Add a head under its name.

    Raises
    ------
    InvalidInputError
        If the name is taken or no identifier, or it is no head.

    Examples
    --------
    >>> from dataclasses import replace
    >>> register_head(replace(get_head("semantic"), name="focal_semantic", loss="focal")).name
    'focal_semantic'
    >>> _heads.unregister("focal_semantic")
    """
    check_instance(head, Head, "head", "register_head(Head(name=...))")
    return _heads.register(head.name)(head)


def list_heads() -> list[str]:
    """Names of all heads, sorted.

    Examples
    --------
    >>> "semantic" in list_heads()
    True
    """
    return _heads.names()


def get_head(name: str) -> Head:
    """The head of that name.

    Raises
    ------
    InvalidInputError
        If there is no such head, or a package announces something else under that name.

    Examples
    --------
    >>> get_head("semantic").channels
    1
    """
    head = _heads.get(name)
    check_instance(head, Head, f"the head {name!r}", "the name of a Head in the entry point of its package")
    return head


register_head(
    Head(
        name="semantic",
        target="mask",
        channels=1,
        activation="sigmoid",
        loss="bce_dice",
        decoder="components",
        thresholds={"probability": 0.5},
    )
)
register_head(
    Head(
        name="boundary",
        target="boundary",
        channels=3,
        activation="softmax",
        loss="categorical_crossentropy",
        foreground=(1, 2),
        decoder="boundary",
        monitor="val_ap",
        thresholds={"probability": 0.5, "seed": 0.5},
    )
)
register_head(
    Head(
        name="distance",
        target="distance",
        channels=2,
        activation="sigmoid",
        loss="mask_and_depth",
        decoder="distance",
        monitor="val_ap",
        thresholds={"probability": 0.5, "seed": 0.4},
    )
)
register_head(
    Head(
        name="contact",
        target="contact",
        channels=3,
        activation="sigmoid",
        loss="mask_depth_and_contact",
        decoder="contact",
        monitor="val_ap",
        thresholds={"probability": 0.5, "seed": 0.2},
    )
)
