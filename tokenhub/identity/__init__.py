"""Who is who: organisations, teams, projects, users, service accounts, API keys, principals.

Owns: the tables of people and credentials, and the one way from a secret to a `Principal`. Never: limits,
prices, or what a principal has used. Start at `types.py` (Principal), then `keys.py` (secrets) and `scopes.py`.
"""
