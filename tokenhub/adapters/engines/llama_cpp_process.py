"""llama.cpp as a server process of ours: started, asked for its counters, stopped."""

import asyncio
import json
import os
import re
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import asdict
from pathlib import Path

import structlog

from tokenhub.adapters.engines.local_http import get_text
from tokenhub.kernel.ids import new_id
from tokenhub.maas.deployments.engine import Engine, EngineCounts, EngineFailed, EngineSpec

log = structlog.get_logger()
START_S_MAX = 300.0
"""A model of many gigabytes loads from a slow disk in minutes."""
STOP_S_MAX = 3.0
COUNT_S_MAX = 2.0
CACHE_MIB = 1024
"""Memory for prompts kept beyond the slots, in MiB."""
LOG_BYTES_MAX = 2_000_000
_SERVER = Path(__file__).with_name("llama_server.py")
_COUNTER = re.compile(r"^llamacpp:(\w+_total) ([0-9.e+]+)$", re.MULTILINE)


class LlamaCppEngine:
    """One running server process."""

    def __init__(
        self, process: Process, *, boot: str, address: str, api_key: str, context_tokens: int
    ) -> None:
        self._process = process
        self.boot = boot
        self.pid = process.pid
        self.base_url = f"{address}/v1"
        self.api_key = api_key
        self.context_tokens = context_tokens
        self._address = address

    async def wait(self) -> int:
        """Until the process has ended; its exit code."""
        return await self._process.wait()

    async def counts(self) -> EngineCounts | None:
        """Counters since the start; None if the engine does not answer in time."""
        try:
            async with asyncio.timeout(COUNT_S_MAX):
                text = await get_text(f"{self._address}/metrics", api_key=self.api_key)
        except (OSError, TimeoutError, ValueError):
            return None
        found = dict(_COUNTER.findall(text))
        if "tokens_predicted_total" not in found:
            return None
        return EngineCounts(
            prompt_tokens=int(float(found["prompt_tokens_total"])),
            output_tokens=int(float(found["tokens_predicted_total"])),
        )

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after a few seconds."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class LlamaCppLauncher:
    """Starts llama.cpp servers. `log_dir`: where each engine's stderr goes."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir

    async def start(self, spec: EngineSpec) -> Engine:
        """Start one and return when it serves. Raises: EngineFailed, with the engine's own reason."""
        api_key = secrets.token_urlsafe(24)
        log_path = self._log_path(spec.alias)
        with log_path.open("ab") as log_file:
            offset = log_file.tell()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # its folder holds modules of ours, none that it imports
                str(_SERVER),  # as a file: as a module it would import the adapters' packages first
                stdin=PIPE,
                stdout=PIPE,
                stderr=log_file,
                start_new_session=True,
            )
        try:
            address = await _ready(process, spec, api_key)
        except BaseException as error:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if isinstance(error, TimeoutError):
                raise EngineFailed(
                    f"The engine of {spec.alias} did not load within {START_S_MAX:g} s."
                ) from error
            raise
        if not address:
            code = await process.wait()
            raise EngineFailed(f"The engine of {spec.alias} did not start: {_reason(log_path, offset, code)}")
        return LlamaCppEngine(
            process,
            boot=new_id("boot"),
            address=address,
            api_key=api_key,
            context_tokens=spec.context_tokens,
        )

    def _log_path(self, alias: str) -> Path:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        path = self._log_dir / f"engine-{re.sub(r'[^A-Za-z0-9._-]', '_', alias)}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        return path


async def _ready(process: Process, spec: EngineSpec, api_key: str) -> str:
    """The server's address once it serves; "" if the process ended instead."""
    fields = asdict(spec) | {
        "model_path": str(spec.model_path),
        "api_key": api_key,
        "threads": spec.threads or os.cpu_count() or 1,
        "cache_mib": CACHE_MIB,
    }
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(fields).encode() + b"\n")
    async with asyncio.timeout(START_S_MAX):
        while line := await process.stdout.readline():
            if line.startswith(b'{"address"'):
                return str(json.loads(line)["address"])
    return ""


def _reason(log_path: Path, offset: int, code: int) -> str:
    with log_path.open("rb") as handle:
        handle.seek(offset)
        lines = handle.read(64_000).decode(errors="replace").splitlines()
    errors = [re.sub(r"^[\d.]+ E \S*\s*", "", line) for line in lines if re.match(r"^[\d.]+ E ", line)]
    reason = next((line for line in errors if "error loading" in line), errors[0] if errors else "")
    return f"{reason or f'it ended with code {code}'} (log: {log_path})"
