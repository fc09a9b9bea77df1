"""GGUF headers, of files written here."""

import struct
from pathlib import Path

import pytest

from tokenhub.maas.catalog.gguf import NotGguf, read_header


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf(values: dict[str, bytes], *, version: int = 3) -> bytes:
    body = b"".join(string(key) + value for key, value in values.items())
    return struct.pack("<4sIQQ", b"GGUF", version, 0, len(values)) + body


def text(value: str) -> bytes:
    return struct.pack("<I", 8) + string(value)


def u32(value: int) -> bytes:
    return struct.pack("<II", 4, value)


def strings(values: list[str]) -> bytes:
    return struct.pack("<IIQ", 9, 8, len(values)) + b"".join(string(value) for value in values)


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    return path


def test_header(tmp_path: Path) -> None:
    values = {
        "general.architecture": text("llama"),
        "general.name": text("Tiny"),
        "tokenizer.ggml.tokens": strings(["a", "b", "ç"]),
        "llama.context_length": u32(2048),
        "tokenizer.chat_template": text("{{ messages }}"),
    }
    header = read_header(write(tmp_path, gguf(values)))
    assert (header.name, header.context_tokens, header.has_template, header.embedding_only) == (
        "Tiny",
        2048,
        True,
        False,
    )


def test_embedding_model(tmp_path: Path) -> None:
    values = {
        "general.architecture": text("bert"),
        "bert.context_length": u32(512),
        "bert.pooling_type": u32(1),
    }
    header = read_header(write(tmp_path, gguf(values)))
    assert header.embedding_only and header.pooled and not header.has_template


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a model at all, but long enough",
        gguf({"general.architecture": text("llama")}, version=1),
        gguf({"general.architecture": text("llama"), "x": text("y" * 100)})[:-50],
        gguf({}),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**60),
        gguf({"x": struct.pack("<IQ", 8, 2**62)}),
        gguf({"x": struct.pack("<I", 99)}),
        gguf({"x": struct.pack("<IIQ", 9, 8, 2**40)}),
    ],
)
def test_anything_else_is_refused_in_one_sentence(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(NotGguf) as caught:
        read_header(write(tmp_path, data))
    assert caught.value.message.endswith(".")
