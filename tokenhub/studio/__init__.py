"""APPLY, innovation: prototypes and experiments."""
