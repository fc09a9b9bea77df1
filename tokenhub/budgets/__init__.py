"""Limits: what may be spent, and the windows they count in."""
