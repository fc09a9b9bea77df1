"""Words of the product without I/O: ids, money, usage, clock, errors.

Owns: value types that every package speaks. Never: imports anything of ours, opens a file or a socket.
Start at `usage.py` (what a request used) and `errors.py` (the error tree).
"""
