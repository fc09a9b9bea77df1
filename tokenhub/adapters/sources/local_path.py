"""A file of this machine."""

from pathlib import Path

from tokenhub.maas.catalog.types import Report, SourceUnavailable

_BLOCK = 4 << 20


class LocalPathSource:
    """Copies from an absolute path."""

    def answers(self, address: str) -> bool:
        """The file is there."""
        return Path(address).is_file()

    def fetch(self, address: str, partial: Path, *, size_bytes: int, report: Report) -> None:
        """Append the missing bytes."""
        start = partial.stat().st_size if partial.exists() else 0
        try:
            source = Path(address).open("rb")  # noqa: SIM115  closed by the with below
        except OSError as error:
            raise SourceUnavailable(f"{address} cannot be read ({error.strerror})") from error
        with source, partial.open("ab") as target:
            source.seek(start)
            done = start
            while block := source.read(_BLOCK):
                target.write(block)
                done += len(block)
                report(done, size_bytes)
