"""Engines that make tokens: llama.cpp, vLLM, any OpenAI-compatible URL."""
