"""What the bootstrap compiled from our C, found by its content: what was made of other sources is never loaded.

`./hub` runs this file once for each content of the sources (about a second, with the system's compiler and nothing
else). Where there is no compiler, or Python's headers are missing, the same runs in Python, slower (decision 0022).
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib import machinery, util
from pathlib import Path
from types import ModuleType

from tokenhub.config import wants_compiled

HERE = Path(__file__).parent
SOURCES = {
    "leaves": ("maas/gateway/leaves.c", "maas/gateway/cursor.h"),
    "gate": ("maas/gateway/gate.c",),
    "tally": ("clearing/tally.c",),
    "uses": ("metering/uses.c",),
}
"""Of each compiled part: what is compiled, and what that includes."""
BUILT = HERE / "_built"
FLAGS = ("-O2", "-shared", "-fPIC", "-fno-strict-aliasing")
COMPILE_S_MAX = 60
ADVICE = "Install a C compiler and Python's headers (Debian: apt-get install gcc python3-dev), then run `./hub up`."


def load(name: str) -> ModuleType | None:
    """The compiled part of this name; None where it was not compiled, cannot be loaded or is not wanted."""
    if not wants_compiled():
        return None
    built = built_path(name)
    spec = util.spec_from_file_location(
        f"_{name}", built, loader=machinery.ExtensionFileLoader(f"_{name}", str(built))
    )
    if spec is None or spec.loader is None or not built.exists():
        return None
    try:
        module = util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    return module


def build() -> str:
    """Compile what is not compiled yet. Returns "" or why it could not be."""
    for name in SOURCES:
        try:
            said = _compile(name)
        except (OSError, subprocess.SubprocessError) as error:
            said = str(error)
        if said:
            return said
    return ""


def built_path(name: str) -> Path:
    """Where the compiled form of this source lies, for this interpreter. Raises: OSError without the source."""
    content = b"".join([(HERE / file).read_bytes() for file in SOURCES[name]])
    content += " ".join([*FLAGS, sys.version]).encode()
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    return BUILT / f"{name}-{digest}{sysconfig.get_config_var('EXT_SUFFIX')}"


def _compile(name: str) -> str:
    built = built_path(name)
    if built.exists():
        return ""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    headers = sysconfig.get_paths()["include"]
    if compiler is None:
        return "there is no C compiler"
    if not Path(headers, "Python.h").exists():
        return f"Python's headers are missing in {headers}"
    BUILT.mkdir(exist_ok=True)
    for old in BUILT.glob(f"{name}-*"):
        old.unlink(missing_ok=True)
    part = BUILT / f"{name}.{os.getpid()}"
    command = [compiler, *FLAGS, f"-I{headers}", str(HERE / SOURCES[name][0]), "-o", str(part)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S_MAX, check=False)
    if done.returncode:
        part.unlink(missing_ok=True)
        return f"{Path(compiler).name} says: {(done.stderr.strip() or str(done.returncode)).splitlines()[0]}"
    part.rename(built)
    return ""


if __name__ == "__main__":
    said = build() if wants_compiled() else ""
    if said:
        sys.exit(f"hub: the gateway's core runs as Python, not compiled: {said}.")
