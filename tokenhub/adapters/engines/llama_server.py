"""Own entry of one llama.cpp server process: `python -P tokenhub/adapters/engines/llama_server.py`.

As small as possible, because it is started again whenever an engine dies: it imports the engine's wheel and
the standard library alone. It reads one JSON line from stdin (so the API key never stands in a command line),
loads the model, serves on 127.0.0.1 and writes one JSON line `{"address": URL}` to stdout when it is ready.
It dies with its parent and leaves cleanly on SIGTERM.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import threading
from typing import Any

# How long a thread of the engine spins at a barrier before it sleeps. The runtime's default (milliseconds) makes
# the engine ten times slower as soon as anything else wants a core; measured in docs/reference/engine-notes.md.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# The wheel is an extension without types.
xllamacpp: Any = importlib.import_module("xllamacpp")

_PR_SET_PDEATHSIG = 1
_POOLING = {
    "": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_UNSPECIFIED,
    "mean": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN,
    "cls": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_CLS,
    "last": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST,
}
BATCH_S = 0.21
"""Longest a batch of a prompt may take without a GPU, in seconds. A client that goes away in mid-prompt is noticed
between two batches, at the second at the latest (measured: docs/reference/engine-notes.md)."""
BYTES_PER_THREAD_S = 27.5e9
"""Tokens per second and thread, times the model's bytes, of a 4-bit model on a server core with AVX2."""
BATCH_CPU_MAX = 48
"""Larger batches read a prompt no faster on a CPU."""
BATCH_GPU = 512


def main() -> None:
    """Serve until SIGTERM, SIGINT or the parent's death."""
    parent = os.getppid()
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the call above
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        server = xllamacpp.Server(_params(json.loads(sys.stdin.readline())))
    except RuntimeError:
        os._exit(1)  # the engine has said why on stderr
    print(json.dumps({"address": server.listening_address}), flush=True)  # noqa: T201  the parent reads it
    stop.wait()
    os._exit(0)  # destroying the server would wait for open requests


def _params(spec: dict[str, Any]) -> Any:
    gpu = any(str(device.get("type", "")).lower().endswith("gpu") for device in _devices())
    params = xllamacpp.CommonParams()
    params.model.path = spec["model_path"]
    params.model_alias = {spec["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [spec["api_key"]]
    params.n_parallel = spec["slots"]
    params.n_ctx = spec["slots"] * spec["context_tokens"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = spec["threads"]
    params.chat_template = spec["template"]
    params.embedding = spec["embedding"]
    params.pooling_type = _POOLING[spec["pooling"]]
    batch = BATCH_GPU if gpu else _batch(os.path.getsize(spec["model_path"]), spec["threads"])
    # An embedding's input must fit one batch; a chat's prompt is processed in several.
    params.n_batch = params.n_ubatch = min(spec["context_tokens"], 2048) if spec["embedding"] else batch
    params.endpoint_metrics = True
    params.prefill_assistant = (
        False  # a last message of the assistant is history, not the start of the answer
    )
    params.warmup = False  # serves a second earlier; the first answer pays it
    params.fit_params = False
    params.ui = False
    params.cache_ram_mib = spec["cache_mib"]
    params.verbosity = 1
    return params


def _batch(model_bytes: int, threads: int) -> int:
    """Prompt tokens of one batch, a multiple of 8, that take about `BATCH_S`."""
    tokens = BATCH_S * BYTES_PER_THREAD_S * threads / model_bytes
    return max(8, min(BATCH_CPU_MAX, round(tokens / 8) * 8))


def _devices() -> list[dict[str, Any]]:
    return list(xllamacpp.get_device_info())


if __name__ == "__main__":
    main()
