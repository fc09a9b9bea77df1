"""What was used: one usage event a request, the line a statement shows; and what the engines say they made.

Owns: the usage event, summaries of usage, engine counters. Never: prices a token or changes a written event.
Start at `types.py`.
"""
