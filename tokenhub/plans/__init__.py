"""Plans that people subscribe to."""
