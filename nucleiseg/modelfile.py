"""A model on disk: one ``.keras`` file, with our settings as readable JSON inside.

The file is what Keras writes, a zip archive, plus one member ``nucleiseg.json``. Keras itself can open it.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._checks import check_flag
from nucleiseg._files import atomic_path, check_reachable
from nucleiseg._forking import check_not_forked
from nucleiseg._weights import give_weights
from nucleiseg.errors import InvalidInputError, ModelFileError
from nucleiseg.modelchecks import CONFIG, SETTINGS, WEIGHTS, check_archive, check_network, check_weights, read_json

if TYPE_CHECKING:
    import keras

_FORMAT = 1
_KNOWN = ("keras.", "nucleiseg.")  # modules


def write_model(
    path: str | os.PathLike[str], model: keras.Model, settings: Mapping[str, Any], half: bool = False
) -> Path:
    """Write a model and its settings into one ``.keras`` file, atomically.

    Neither optimiser nor loss is kept: the file is for prediction and for further training with a fresh optimiser.

    Parameters
    ----------
    path : path
        Must end in ``.keras``.
    model : keras.Model
        A functional model.
    settings : mapping
        JSON values.
    half : bool
        Keep the weights as 16-bit floats, half the size; they are read into 32-bit floats again.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InvalidInputError
        If the path does not end in ``.keras``.
    """
    check_flag(half, "half")
    target = Path(path)
    if target.suffix != ".keras":
        raise InvalidInputError(f"a model's file name must end in .keras, got {target.name!r}; use {target.stem}.keras")
    plain = copy_network(model)
    with tempfile.TemporaryDirectory() as folder, atomic_path(target) as temporary:
        saved = Path(folder) / "model.keras"
        plain.save(saved)
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in source.namelist():
                content = source.read(name)
                if name == CONFIG:
                    content = json.dumps(_portable(json.loads(content))).encode()
                archive.writestr(name, _halved(content) if half and name == WEIGHTS else content)
            archive.writestr(SETTINGS, json.dumps({"format": _FORMAT, **settings}, indent=2, ensure_ascii=False))
    return target


def copy_network(model: keras.Model) -> keras.Model:
    """A copy without the compiled state, and so without Adam's moments, which are twice the weights."""
    import keras

    plain = keras.Model.from_config(model.get_config())
    give_weights(plain, model)
    return plain


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings inside a model file. Imports no Keras.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, or was not saved by nucleiseg.
    """
    source = Path(path)
    with _open(source) as archive:
        try:
            settings = read_json(archive, SETTINGS, source)
        except KeyError:
            raise ModelFileError(
                f"{source} holds no nucleiseg settings; save it with Segmenter.save, not with keras.Model.save"
            ) from None
    if not isinstance(settings, dict) or settings.get("format") != _FORMAT:
        raise ModelFileError(f"{source} was saved by another version of nucleiseg; update nucleiseg to read it")
    return settings


def read_model(path: str | os.PathLike[str]) -> tuple[keras.Model, dict[str, Any]]:
    """The model and the settings inside a model file.

    No code in the file is run (``safe_mode``), and what it claims is checked before memory is taken for it; see
    `nucleiseg.modelchecks`.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, was not saved by nucleiseg, or asks for what no model needs.
    """
    settings = read_settings(path)
    check_not_forked()
    import keras

    source = Path(path)
    try:
        with _open(source) as archive, tempfile.TemporaryDirectory() as folder:
            saved = read_json(archive, CONFIG, source)
            config = _portable(saved)
            count = check_network(config, source)
            check_weights(archive.read(WEIGHTS), count, source)
            if config != saved or source.suffix != ".keras":  # Keras takes no capitals
                source = _with_config(archive, config, Path(folder) / "model.keras")
            model = keras.saving.load_model(os.fspath(source), compile=False, safe_mode=True)
    except ModelFileError:
        raise
    except Exception as error:  # what Keras raises depends on the damage
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelFileError(f"the model in {path} cannot be read ({reason}); copy or download it again") from error
    return model, settings


@contextmanager
def _open(source: Path) -> Iterator[zipfile.ZipFile]:
    check_reachable(source, ModelFileError)
    if not source.is_file():
        raise ModelFileError(
            f"the model file {source} does not exist; check the path, or train one with 'nucleiseg train'"
        )
    try:
        archive = zipfile.ZipFile(source)
    except Exception as error:  # what Python raises for a damaged archive depends on which byte is damaged
        raise ModelFileError(f"{source} is damaged or no .keras file ({error}); copy or download it again") from error
    with archive:
        check_archive(archive, source)
        yield archive


def _portable(value: Any, known: bool = True) -> Any:
    """A network's config without what earlier versions of Keras don't know and what changes nothing.

    How the weights of Keras's layers and ours are first filled does not matter, since the file holds them all: with
    zeros, of which there is nothing more to say, where Keras 3.15 says more than 3.12. Other layers may compute with
    what an initializer gives. Keras 3.15 also knows another kind of batch normalisation, which is off.
    """
    if isinstance(value, list):
        return [_portable(item, known) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_name" in value:
        known = known and f"{value.get('module')}.".startswith(_KNOWN)
        if known and value["module"] == "keras.initializers":
            return {**value, "class_name": "Zeros", "config": {}}
    off = value.get("renorm") is False
    return {key: _portable(item, known) for key, item in value.items() if not (off and key.startswith("renorm"))}


def _with_config(archive: zipfile.ZipFile, config: Any, path: Path) -> Path:
    """Write a model file with another config for its network."""
    with zipfile.ZipFile(path, "w") as other:
        for name in archive.namelist():
            other.writestr(name, json.dumps(config) if name == CONFIG else archive.read(name))
    return path


def _halved(content: bytes) -> bytes:
    """A copy of an HDF5 file whose float32 datasets are float16."""
    import h5py
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.h5"
        path.write_bytes(content)
        with h5py.File(path, "r") as source, h5py.File(Path(folder) / "half.h5", "w") as half:

            def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
                if isinstance(item, h5py.Group):
                    made = half.require_group(name)
                else:
                    values = item[()]
                    made = half.create_dataset(
                        name, data=values.astype(np.float16) if item.dtype == np.float32 else values
                    )
                for key, value in item.attrs.items():
                    made.attrs[key] = value

            for key, value in source.attrs.items():
                half.attrs[key] = value
            source.visititems(copy)
        return (Path(folder) / "half.h5").read_bytes()
