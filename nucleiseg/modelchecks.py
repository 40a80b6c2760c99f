"""What a model file must be like before Keras sees it. It may come from anybody.

Nothing in it is unpickled or run. What it claims is compared with limits before memory is taken for it: the sizes of
the archive's members, the classes its network is built of, the network's size, and the arrays in its weights.
"""

from __future__ import annotations

import io
import json
import math
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from nucleiseg.errors import InvalidInputError, ModelFileError

__all__ = [
    "CONFIG",
    "MOST_WEIGHTS",
    "SETTINGS",
    "WEIGHTS",
    "check_archive",
    "check_network",
    "check_saveable",
    "check_sha256",
    "check_weights",
    "read_json",
]

MOST_WEIGHTS = 2**28
"""Weights of a network, at most: 1 GiB of 32-bit floats. The largest encoder that there is has 118 million."""

SETTINGS = "nucleiseg.json"
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"

_MIB = 2**20
# The members that Keras and we write, and their largest size. Weights may be 8 bytes each, with room for names.
_MEMBERS = {SETTINGS: 16 * _MIB, CONFIG: 16 * _MIB, WEIGHTS: 8 * MOST_WEIGHTS + 64 * _MIB, "metadata.json": _MIB}

_MODULES = (
    "builtins",
    "keras",
    "keras.activations",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.initializers",
    "keras.layers",
    "keras.models",
    "keras.regularizers",
    "keras.src.models.functional",
    "keras.src.models.sequential",
    "keras.src.ops.",
)
# They run code of the file, or read what it names: files of this machine or of a network.
_REFUSED = (
    "FlaxLayer",
    "Hashing",
    "IntegerLookup",
    "JaxLayer",
    "Lambda",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
)
_NO_NUMBERS = ("bfloat", "float8")  # HDF5 has them as bytes of which it knows nothing
_DATA = ("__keras_tensor__", "__slice__", "__ellipsis__", "__numpy__", "__tensor__", "__bytes__")


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse an archive whose members have other names, or claim to be larger than such a member ever is.

    Raises
    ------
    ModelFileError
        Names the member.
    """
    for info in archive.infolist():
        most = _MEMBERS.get(info.filename)
        if most is None:
            raise ModelFileError(
                f"{path} holds {info.filename!r}, which no model of nucleiseg has; "
                "don't use it unless you know its source"
            )
        if info.file_size > most:
            raise ModelFileError(
                f"{path} claims {info.file_size:,} bytes for {info.filename!r}, more than the {most:,} allowed; "
                "don't use it unless you know its source"
            )


def read_json(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    """A member of an archive that `check_archive` has let pass.

    Raises
    ------
    KeyError
        If there is no such member.
    ModelFileError
        If it is damaged or no JSON.
    """
    try:
        return json.loads(archive.read(name))
    except KeyError:
        raise
    except Exception as error:  # what Python raises for a damaged archive depends on which byte is damaged
        raise ModelFileError(f"{path} is damaged or no .keras file ({error}); copy or download it again") from error


def check_network(config: Any, path: Path) -> int:
    """How many weights a network has that is built from a config; builds it, but takes no memory for its weights.

    Raises
    ------
    ModelFileError
        If it has a class that is neither a plain one of Keras nor registered by an installed package, or more weights
        than `MOST_WEIGHTS`.
    Exception
        Whatever Keras raises for a config that makes no sense.
    """
    for foreign in _foreign_classes(config):
        raise ModelFileError(
            f"{path} needs the class {foreign}, which is not a plain layer of Keras; "
            "import the package that registers it, or don't use the file"
        )
    count = _in_thread(lambda: _count_weights(config))
    if count > MOST_WEIGHTS:
        raise ModelFileError(
            f"{path} is a network of {count:,} weights, more than the {MOST_WEIGHTS:,} allowed; "
            "don't use it unless you know its source"
        )
    return count


def check_saveable(model: Any) -> None:
    """Refuse a network that could be trained and saved, but not be read again.

    Raises
    ------
    InvalidInputError
        If it has a class that is neither a plain one of Keras nor registered, a function, as in a `Lambda` layer, or
        weights in bfloat16.

    Examples
    --------
    >>> import keras
    >>> image = keras.Input((4, 4, 3))
    >>> check_saveable(keras.Model(image, keras.layers.Lambda(lambda values: values * 2)(image)))
    Traceback (most recent call last):
    ...
    nucleiseg.errors.InvalidInputError: a network must be of layers that a file can hold, got keras.layers.Lambda; ...
    """
    config = {name: part for name, part in json.loads(model.to_json()).items() if name != "compile_config"}
    for foreign in _foreign_classes(config):  # optimiser and loss are not written
        raise InvalidInputError(
            f"a network must be of layers that a file can hold, got {foreign}; use layers of Keras or keras.ops, or "
            "register the class: @keras.saving.register_keras_serializable('my_package')"
        )
    for variable in model.variables:
        if variable.dtype.startswith(_NO_NUMBERS):
            raise InvalidInputError(
                f"a network must have weights of numbers that HDF5 knows, got {variable.dtype} in {variable.path!r}; "
                "build it with keras.config.set_dtype_policy('mixed_bfloat16'), which keeps weights in float32"
            )


def check_weights(content: bytes, count: int, path: Path) -> None:
    """Refuse weights that refer to other files or to themselves, or claim more values than the network has.

    Raises
    ------
    ModelFileError
        Says which.
    Exception
        Whatever HDF5 raises for a damaged file.
    """
    import h5py

    values = 0
    with h5py.File(io.BytesIO(content), "r") as file:
        groups = [file]
        reached = {h5py.h5o.get_info(file.id).addr}
        while groups:
            group = groups.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ModelFileError(f"{path} has weights that lie elsewhere ({name!r}); don't use it")
                item = group[name]
                place = h5py.h5o.get_info(item.id).addr
                if place in reached:  # a group that holds itself has no end
                    raise ModelFileError(f"{path} has weights that lie in several places ({name!r}); don't use it")
                reached.add(place)
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                if item.external or item.is_virtual or item.dtype.kind not in "buif":
                    raise ModelFileError(f"{path} has weights that are no plain numbers ({item.name!r}); don't use it")
                values += item.size or 0
                if values > count or len(groups) > count + _MIB:
                    raise ModelFileError(
                        f"{path} has more weights than its network, which has {count:,}; copy or download it again"
                    )


def check_sha256(path: Path, wanted: str) -> None:
    """Refuse a file that is not the one that was published.

    Raises
    ------
    ModelFileError
        If its SHA-256 is another.
    """
    from nucleiseg._files import file_sha256

    found = file_sha256(path)
    if found != wanted:
        raise ModelFileError(
            f"{path} must have the SHA-256 {wanted[:16]}…, got {found[:16]}…: it is damaged or was changed; "
            "install nucleiseg again"
        )


def _classes(value: Any) -> Iterator[tuple[str | None, str, str | None]]:
    """Module, name and registered name of every class and function that a config asks for."""
    if isinstance(value, dict):
        name = value.get("class_name")
        if isinstance(name, str):
            module, registered = value.get("module"), value.get("registered_name")
            function = value.get("config")
            if name == "function" and isinstance(function, str):
                name = function
            yield (str(module) if module else None, name, str(registered) if registered else None)
        elif "class_name" in value:
            yield (None, repr(name)[:80], None)
        for item in value.values():
            yield from _classes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _classes(item)


def _foreign_classes(config: Any) -> Iterator[str]:
    """Classes and functions that a config asks for, but that are neither plain ones of Keras nor registered."""
    from keras.saving import get_registered_object

    for module, name, registered in _classes(config):
        if get_registered_object(registered or name) is None and not _is_plain(module, name):
            yield f"{module}.{name}" if module else name


def _is_plain(module: str | None, name: str) -> bool:
    if name in _DATA:
        return module is None
    if name in _REFUSED or name.startswith("__") or module is None:
        return False
    return any(module.startswith(known) if known.endswith(".") else module == known for known in _MODULES)


def _count_weights(config: Any) -> int:
    """Values that a file of the network holds, at most."""
    import keras

    with keras.StatelessScope(initialize_variables=False):  # variables have shapes, but no values
        model = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)), safe_mode=True)
        # A file holds what each layer has, even if it is another's: SpectralNormalization has its layer's kernel.
        layers = model._flatten_layers()
        written = [one for layer in layers for one in layer._trainable_variables + layer._non_trainable_variables]
        once = {id(variable): variable for variable in written}
        again = _values(written) - _values(once.values())
        return _values(model.variables) + again


def _values(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _in_thread(function: Callable[[], int]) -> int:
    """Run where Keras keeps a state of its own, which is forgotten afterwards, with all variables that wait in it."""
    result: list[int] = []
    problem: list[BaseException] = []

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:
            problem.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return result[0]
