"""Secrets: how they look, how they are hashed. Only hashes are stored; sha256 suffices for 256 random bits."""

import hashlib
from secrets import token_urlsafe

KEY_MARK = "sk-th-"
_SHOWN = len(KEY_MARK) + 4


def new_secret() -> str:
    """A fresh API key: `sk-th-` and 43 URL-safe characters (256 random bits)."""
    return KEY_MARK + token_urlsafe(32)


def hash_secret(secret: str) -> bytes:
    """sha256 of the whole secret, 32 bytes."""
    return hashlib.sha256(_bytes(secret)).digest()


def hash_hex(secret: str) -> str:
    """The same, as the tables keep it."""
    return hashlib.sha256(_bytes(secret)).hexdigest()


def shown_prefix(secret: str) -> str:
    """What lists show of a key: ten characters of ours, at most a quarter of a key that someone else chose."""
    return secret[: _SHOWN if secret.startswith(KEY_MARK) else min(_SHOWN, len(secret) // 4)]


def _bytes(secret: str) -> bytes:
    """What a caller sends may be no text at all; it then hashes to something that no key has."""
    return secret.encode(errors="surrogatepass")
