"""The way in for people, scripts and AI."""
