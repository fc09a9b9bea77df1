"""What the bootstrap compiled from our C sources, found by their content: what was made of others is never loaded.

`./hub` runs `python -m tokenhub.kernel.native`; without a compiler or Python's headers the pure form of everything
serves, slower. `TOKENHUB_PURE=1` leaves the compiled form out.
"""

import os
import subprocess
import sys
import sysconfig
import zlib
from importlib import machinery, util
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parents[1]
SOURCES = ("maas/gateway/leaves.c",)
FOLDER = PACKAGE / "_native"
FLAGS = ("-O2", "-shared", "-fPIC", "-fno-strict-aliasing")
COMPILE_S_MAX = 60


def load(name: str, beside: str) -> ModuleType | None:
    """The compiled `name.c` that stands beside a source file; None where it was not compiled or is not wanted."""
    if os.environ.get("TOKENHUB_PURE") == "1":
        return None
    source = Path(beside).with_name(f"{name}.c")
    try:
        built = _built(source)
        if not built.exists():
            return None
        loader = machinery.ExtensionFileLoader(f"_{name}", str(built))
        spec = util.spec_from_file_location(f"_{name}", built, loader=loader)
        if spec is None:
            return None
        module = util.module_from_spec(spec)
        loader.exec_module(module)
    except (OSError, ImportError):
        return None
    return module


def build() -> str:
    """Compile what is not compiled yet. Returns "" or why there is no compiled form; never raises."""
    for source in SOURCES:
        try:
            said = _compile(PACKAGE / source)
        except (OSError, subprocess.SubprocessError) as error:
            said = str(error)
        if said:
            return said
    return ""


def _compile(source: Path) -> str:
    built = _built(source)
    if built.exists():
        return ""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = sysconfig.get_paths()["include"]
    if not Path(headers, "Python.h").exists():
        return f"Python's headers are missing ({headers}); on Debian: apt-get install python3-dev"
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob(f"{source.stem}-*"):
        old.unlink(missing_ok=True)
    part = built.with_suffix(f".{os.getpid()}")
    command = [compiler, *FLAGS, f"-I{headers}", str(source), "-o", str(part)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S_MAX, check=False)
    if done.returncode:
        part.unlink(missing_ok=True)
        return f"{compiler} failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}"
    part.rename(built)
    return ""


def _built(source: Path) -> Path:
    digest = zlib.crc32(source.read_bytes() + sys.version.encode())
    return FOLDER / f"{source.stem}-{digest:08x}{sysconfig.get_config_var('EXT_SUFFIX')}"


if __name__ == "__main__":
    said = build()
    if said:
        sys.exit(f"hub: without a compiled gateway core: {said}.")
