"""What a segmenter is, as it stands in a model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nucleiseg.errors import ModelFileError

_KEY = "segmenter"


@dataclass(frozen=True)
class SegmenterSettings:
    """What a saved model needs besides its weights; written into the file as JSON."""

    encoder: str
    weights: str | None
    head: str
    loss: str
    upsampling: str
    widths: tuple[int, ...]
    scaling: str
    seed: int
    thresholds: Mapping[str, float]
    trained: bool = False
    passport: tuple[float, float, float] | None = None
    """Diameters of the nuclei that it was trained on: see `nucleiseg.inference.Passport`."""
    calibration: Mapping[str, float] | None = None
    """How its confidence is computed: see `nucleiseg.instances.Calibration`."""
    licence: str | None = None
    deterministic: bool = False
    convolutions: int = 0
    run: Mapping[str, Any] | None = None
    """The manifest of the latest training: versions, seed, images, command, times."""

    @property
    def network(self) -> dict[str, Any]:
        """How the model was built."""
        return {
            name: getattr(self, name) for name in ("encoder", "weights", "head", "upsampling", "widths", "convolutions")
        }

    def to_json(self) -> dict[str, Any]:
        """What stands in the file, under a name of its own beside what else may stand there."""
        return {_KEY: asdict(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], path: str) -> SegmenterSettings:
        """What `to_json` wrote, read from the file of that path.

        Raises
        ------
        ModelFileError
            If it is something else.
        """
        try:
            fields = stored[_KEY]
            return cls(**{**fields, "widths": tuple(fields["widths"])})
        except (KeyError, TypeError) as error:
            raise ModelFileError(
                f"{path} holds no settings of a Segmenter ({error}); save it with Segmenter.save"
            ) from error
