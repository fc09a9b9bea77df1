"""The way in for people, scripts and AI: `hub <noun> <verb>`.

Owns: the terminal's face of the declared commands, and the few verbs that are no commands of the hub (up, serve, chat,
config, doctor, completion, version). Never: what a command does. `hub --help` reads `manifest.json`, which is generated
from the declarations, so that it starts without loading them. Start at `main.py`, then `tree.py` and `call.py`.
"""
