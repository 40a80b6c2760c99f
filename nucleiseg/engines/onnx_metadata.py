"""The metadata of an ONNX file, read and written without the package ``onnx``, which a light installation lacks.

A file is one protobuf message, ``ModelProto`` of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto: fields one
after the other, each a key (number and kind) and a value. Only the fields of the outermost message are looked at. They
may stand in any order, so the metadata can be cut out and put at the end without touching the network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nucleiseg._files import check_reachable
from nucleiseg.errors import ModelFileError
from nucleiseg.modelchecks import MOST_WEIGHTS

MOST_BYTES = 4 * MOST_WEIGHTS + 2**26
"""Of a file, at most: weights of 32 bits, with room for names."""

SETTINGS = "nucleiseg.json"
_CHECKSUM = "nucleiseg.sha256"
_FORMAT = 1

_MOST_FIELDS = 2**12  # of the outermost message; a file has some ten

# Numbers of the fields in onnx.proto.
_GRAPH, _METADATA_PROPS = 7, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
# Kinds of values: https://protobuf.dev/programming-guides/encoding
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5


def with_settings(content: bytes, settings: Mapping[str, Any]) -> bytes:
    """An ONNX file with our settings as JSON in its metadata; other entries stay as they are.

    Parameters
    ----------
    content : bytes
        Of an ONNX file.
    settings : mapping
        JSON values.

    Returns
    -------
    bytes
        Of the new file.
    """
    network, entries = _split(content)
    entries[SETTINGS] = json.dumps({"format": _FORMAT, **settings}, indent=2, ensure_ascii=False)
    entries[_CHECKSUM] = _checksum(network, entries)
    return network + b"".join(_field(_METADATA_PROPS, _entry(key, value)) for key, value in entries.items())


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a file, which is checked as `read_checked` does. Imports neither onnx nor a runtime."""
    return read_checked(path)[1]


def read_checked(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The content of a file that `with_settings` made, and the settings in it.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, changed, or was not exported by nucleiseg.
    """
    check_reachable(path, ModelFileError)
    if not path.is_file():
        raise ModelFileError(
            f"the model file {path} does not exist; check the path, or write one with 'nucleiseg export'"
        )
    try:
        check_size(path.stat().st_size)
        content = path.read_bytes()
        network, entries = _split(content)
        stored = entries.get(SETTINGS)
        settings = None if stored is None else json.loads(stored)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged or no ONNX file ({error}); copy or download it again") from error
    if stored is None:
        raise ModelFileError(f"{path} holds no nucleiseg settings; write it with Segmenter.export")
    if not isinstance(settings, dict) or settings.get("format") != _FORMAT:
        raise ModelFileError(f"{path} was written by another version of nucleiseg; update nucleiseg to read it")
    if entries.get(_CHECKSUM) != _checksum(network, entries):
        raise ModelFileError(f"{path} is damaged, or was changed after its export; export or download it again")
    return content, settings


def check_size(size: int) -> None:
    """Refuse a file before memory is taken for it.

    Raises
    ------
    ValueError
        If it is larger than any network that is read.
    """
    if size > MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes, more than the {MOST_BYTES:,} allowed")


def _checksum(network: bytes, entries: Mapping[str, str]) -> str:
    """ONNX has none of its own, and a changed weight would go unnoticed."""
    return hashlib.sha256(network + entries[SETTINGS].encode()).hexdigest()


def _split(content: bytes) -> tuple[bytes, dict[str, str]]:
    """Everything but the metadata, and the metadata."""
    rest, entries, has_graph = [], {}, False
    for count, (number, field, value) in enumerate(_fields(content)):
        if count == _MOST_FIELDS:
            raise ValueError(f"it has more than {_MOST_FIELDS:,} parts")
        has_graph |= number == _GRAPH
        if number == _METADATA_PROPS:
            parts = {part: text.decode() for part, _, text in _fields(value)}
            entries[parts.get(_ENTRY_KEY, "")] = parts.get(_ENTRY_VALUE, "")
        else:
            rest.append(field)
    if not has_graph:
        raise ValueError("it has no network")
    return b"".join(rest), entries


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, whole field and value of each field of a message; the value is empty unless it is a string or message."""
    position = 0
    while position < len(message):
        start = position
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        value = b""
        if kind == _VARINT:
            _, position = _varint(message, position)
        elif kind == _EIGHT_BYTES:
            position += 8
        elif kind == _FOUR_BYTES:
            position += 4
        elif kind == _LENGTH_DELIMITED:
            length, position = _varint(message, position)
            value = message[position : position + length]
            position += length
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if position > len(message):
            raise ValueError("it is cut off")
        yield number, message[start:position], value


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(message):
            raise ValueError("it is cut off")
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("a number that is too long")


def _field(number: int, value: bytes) -> bytes:
    return _number(number << 3 | _LENGTH_DELIMITED) + _number(len(value)) + value


def _entry(key: str, value: str) -> bytes:
    return _field(_ENTRY_KEY, key.encode()) + _field(_ENTRY_VALUE, value.encode())


def _number(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
