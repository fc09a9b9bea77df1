"""Sources that deliver model files: Hugging Face, ModelScope, registry packages, http(s), local paths."""
