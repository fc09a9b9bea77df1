"""APPLY, enterprise: workspace objects and their commands."""
