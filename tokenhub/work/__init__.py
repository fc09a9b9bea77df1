"""APPLY, enterprise: workspace objects and their commands, one file a noun.

Owns: departments' verbs, tasks, channels and messages, calendar, documents, drive, approvals, reports, notices and what
becomes of them outside, search. Never: who may do what (the door decides), people and teams (identity). Whose rows somebody sees stands in `visibility.py`, as
SQL conditions that every query of a noun carries; nothing is filtered afterwards. Start at `tasks.py`.
"""
