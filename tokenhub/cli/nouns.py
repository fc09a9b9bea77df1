"""How the first page of help sorts and names the nouns, and which verb a bare noun means."""

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Run", ("up", "serve", "doctor", "config", "completion", "docs", "version")),
    ("Use", ("do", "chat", "model", "deploy", "provider")),
    ("People and keys", ("key", "login-link", "user", "team", "project", "service-account", "org")),
    (
        "Work",
        (
            "department",
            "task",
            "event",
            "calendar",
            "room",
            "message",
            "channel",
            "doc",
            "file",
            "form",
            "request",
            "absence",
            "report",
            "report-form",
            "notice",
            "hook",
            "outbox",
            "work",
        ),
    ),
    (
        "Agents and permission",
        ("agent", "skill", "grant", "schedule", "gate", "policy", "audit", "commands", "mcp"),
    ),
    ("Books", ("usage", "budget", "price", "ledger")),
)
"""A noun that stands in none of them is shown under `More`."""

SUMMARIES = {
    "agent": "Programs that act for a person: their runs, and the switch that stops them",
    "audit": "What was done, refused and asked; proof and undo",
    "absence": "When you are away, and who decides meanwhile",
    "calendar": "Working hours, and when people and rooms are free together",
    "event": "Events: who, when, where, how often",
    "hook": "Addresses outside the hub that get notices and messages",
    "outbox": "What is about to leave the hub, and what has left it",
    "report": "Daily and weekly reports",
    "report-form": "What reports ask, who hands them in, who reads them",
    "room": "Rooms that events book",
    "channel": "Places for messages: groups and direct talks",
    "commands": "Find and describe commands",
    "department": "Departments and who is in them",
    "doc": "Documents with versions and comments",
    "file": "Drive: files with versions and shares",
    "form": "Forms of approvals and their routes",
    "gate": "Questions to a person: commands that wait for a yes",
    "grant": "What a person lends an agent, for a while",
    "mcp": "Tools for AI clients: the hub's own commands, and outside servers' as commands",
    "message": "Messages, threads and mentions",
    "notice": "What happened that concerns you",
    "policy": "Who may do what, and why",
    "request": "Approvals: requests and their decisions",
    "skill": "What agents may work by: folders with a SKILL.md that an administrator allowed",
    "schedule": "Runs of agents that begin by the clock, or after a command of somebody",
    "task": "Tasks",
    "budget": "What may be spent: limits on keys, people, teams, projects, models",
    "deploy": "Models that are being served",
    "job": "Work that goes on in the background",
    "key": "API keys",
    "ledger": "The books: statements, verification, reconciliation",
    "login-link": "One-time links into the console",
    "model": "The catalogue of models",
    "org": "The organisation",
    "price": "The price book",
    "project": "Pieces of work that keys count on",
    "provider": "Outside providers of models",
    "service-account": "Programs with keys of their own",
    "team": "Groups of people",
    "usage": "What was used, by whom and at what price",
    "user": "People",
    "work": "Search over the whole workspace",
}

DEFAULT_VERBS = ("show", "list", "status", "summary")
"""`hub usage` runs the first of these that the noun has and that needs no argument."""

IMPLIED_VERBS = {"deploy": "create"}
"""`hub deploy MODEL` means `hub deploy create MODEL`."""

OWN_VERBS = {("mcp", "serve"): ("tokenhub.cli.mcp_serve:serve", "Speak MCP on standard input and output")}
"""Verbs of a declared noun that are the command line's own: where they are, and what help says of them."""

OUTSIDE = "mcp"
"""The noun whose verbs are also tools of outside servers: `hub mcp SERVER.TOOL`."""

PLURALS = {
    "outbox.list": "letters in the outbox",
    "report.missing": "reports missing",
    "calendar.free": "times at which all are free",
    "mcp.list": "outside MCP servers; add one with `hub mcp add`",
    "mcp.calls": "calls to outside servers",
}
"""What a list holds, where it is not its noun with an s."""
