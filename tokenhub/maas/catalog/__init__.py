"""The catalogue: which models exist, what their bytes hash to, and where the bytes come from.

Owns: entries (content-addressed: a name, a licence, a size, a sha256), fetching with verification, GGUF headers.
Never: trusts a source, installs or imports anything of one, runs a model.
Start at `types.py`, then `builtin.py` (what ships) and `fetch.py` (how bytes arrive).
"""
