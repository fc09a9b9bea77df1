"""Acceptance rows: `./hub test --accept core [NAME …]`. They speak to a running hub from outside and import nothing of it.

Start at `harness.py` (what a check is), then `hub.py` (a hub of one's own), `upstream.py` (a scripted provider) and the
`core_*.py` files, one a line of the acceptance list.
"""
