"""Read the header of a GGUF file: what it is, how long its context, whether it brings a chat template.

Source: the GGUF specification, version 3 (little-endian): magic, version, tensor count, key-value count, then
the key-values. Arrays (the vocabulary) are skipped without being kept.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tokenhub.kernel.errors import InvalidRequest

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
_STRING_BYTES_MAX = 16 * 2**20
_ITEMS_MAX = 50_000_000
Value = str | int | float | bool


class NotGguf(InvalidRequest):
    """The file is no GGUF model, or a cut one."""

    code = "not_gguf"


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the hub reads from a header."""

    architecture: str
    name: str
    licence: str
    context_tokens: int
    has_template: bool
    embedding_only: bool
    """An encoder: it makes embeddings and no text."""
    pooled: bool
    """The file itself says how embeddings are pooled."""


def read_header(path: Path) -> GgufHeader:
    """The header of the file at `path`. Raises: NotGguf."""
    try:
        with path.open("rb") as handle:
            values = _read_values(handle)
    except (struct.error, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise NotGguf(f"{path.name} is not a complete GGUF file; download it again.", param="path") from error
    architecture = str(values.get("general.architecture", ""))
    if not architecture:
        raise NotGguf(f"{path.name} names no model architecture, so no engine can run it.", param="path")
    context = values.get(f"{architecture}.context_length", 0)
    return GgufHeader(
        architecture=architecture,
        name=str(values.get("general.name", "")),
        licence=str(values.get("general.license", "")),
        context_tokens=int(context),
        has_template=bool(values.get("tokenizer.chat_template")),
        embedding_only="bert" in architecture or values.get(f"{architecture}.attention.causal") is False,
        pooled=int(values.get(f"{architecture}.pooling_type", 0)) > 0,
    )


def _read_values(handle: BinaryIO) -> dict[str, Value]:
    magic, version, _tensors, count = struct.unpack("<4sIQQ", handle.read(24))
    if magic != b"GGUF":
        raise NotGguf("The file does not start with the GGUF mark; give a .gguf model file.", param="path")
    if version not in (2, 3):
        raise NotGguf(
            f"GGUF version {version} is not supported; convert the model to version 3.", param="path"
        )
    if count > 100_000:
        raise NotGguf("The GGUF header is damaged; download the file again.", param="path")
    values: dict[str, Value] = {}
    for _ in range(count):
        key = _string(handle)
        value = _value(handle, _unpack(handle, "<I"))
        if value is not None:
            values[key] = value
    return values


def _value(handle: BinaryIO, kind: int) -> Value | None:
    if kind == _STRING:
        return _string(handle)
    if kind == _ARRAY:
        item, length = struct.unpack("<IQ", handle.read(12))
        _skip_array(handle, item, length)
        return None
    if kind not in _SCALARS:
        raise NotGguf(
            f"The GGUF header has an unknown value type {kind}; download the file again.", param="path"
        )
    (value,) = struct.unpack(_SCALARS[kind], handle.read(struct.calcsize(_SCALARS[kind])))
    return value


def _skip_array(handle: BinaryIO, item: int, length: int) -> None:
    if length > _ITEMS_MAX:
        raise NotGguf("The GGUF header is damaged; download the file again.", param="path")
    if item in _SCALARS:
        handle.seek(length * struct.calcsize(_SCALARS[item]), 1)
        return
    for _ in range(length):
        if item == _STRING:
            handle.seek(_unpack(handle, "<Q"), 1)
        else:
            _value(handle, item)


def _string(handle: BinaryIO) -> str:
    length = _unpack(handle, "<Q")
    if length > _STRING_BYTES_MAX:
        raise NotGguf("The GGUF header is damaged; download the file again.", param="path")
    raw = handle.read(length)
    if len(raw) < length:
        raise NotGguf("The GGUF header ends early; download the file again.", param="path")
    return raw.decode("utf-8", errors="replace")


def _unpack(handle: BinaryIO, layout: str) -> int:
    (value,) = struct.unpack(layout, handle.read(struct.calcsize(layout)))
    return value
