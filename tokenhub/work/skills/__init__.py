"""Skills: folders with a SKILL.md (Agent Skills format; OpenClaw's and Claude's are readable) that agents work by.

Owns: reading and refusing bundles, the allow-list of each organisation, what an agent is shown and when, the bounds that
`allowed-tools` sets to a run, and runs of scripts. Never: running anything at install, or anything outside the sandbox.
A skill is its digest: whatever an administrator allowed is those bytes and no others. Start at `verbs.py` (the
allow-list), then `use_verbs.py` (what an agent calls), `jobs.py` (scripts); docs/decisions/0020.
"""
