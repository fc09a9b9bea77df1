"""Sandboxes for scripts of skills, one file a vendor. Start at `bubblewrap.py`."""
