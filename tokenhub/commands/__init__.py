"""The one door for actions: declaration, registry, execute(), envelope."""
