"""The only composer: settings in, one running role out. One module a role, so that a gateway loads no web framework.

`state.py` prepares databases, first keys and the model; `gateway.py`, `app.py`, `worker.py` run a role;
`commands.py` collects every declared command.
"""
