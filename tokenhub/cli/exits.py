"""Exit codes, stable for scripts.

0  success
1  failure
2  usage: the arguments are not right
3  not found
4  no key, or one that may not do this
5  conflict with what is there
6  unavailable (nothing could serve it now; trying again may help), or nobody knows whether it was done
7  partial_failure: some of several effects happened
8  pending: the work goes on, or waits for a person's yes
130  interrupted
"""

from typing import Any

SUCCESS = 0
FAILURE = 1
USAGE = 2
NOT_FOUND = 3
DENIED = 4
CONFLICT = 5
UNAVAILABLE = 6
PARTIAL = 7
PENDING = 8
INTERRUPTED = 130

_BY_STATUS = {
    400: USAGE,
    401: DENIED,
    403: DENIED,
    404: NOT_FOUND,
    409: CONFLICT,
    413: USAGE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
MEANINGS = {
    SUCCESS: "success",
    FAILURE: "failure",
    USAGE: "usage: the arguments are not right",
    NOT_FOUND: "not found",
    DENIED: "no key, or one that may not do this",
    CONFLICT: "conflict with what is there",
    UNAVAILABLE: "nothing could serve it now (trying again may help), or it is unknown whether it was done",
    PARTIAL: "some of several effects happened (`partial_failure`)",
    PENDING: "pending: the work goes on, or waits for a person's yes",
    INTERRUPTED: "interrupted with Ctrl-C",
}
"""The same table for the reference page."""


def exit_code(envelope: dict[str, Any]) -> int:
    """The exit code of an envelope; 0 exactly if it is ok."""
    status = envelope["status"]
    if status == "success":
        return SUCCESS
    if status == "pending":
        return PENDING
    if status == "partial_failure":
        return PARTIAL
    error: dict[str, Any] = envelope.get("error") or {"status": 500}
    return status_exit(error["status"])


def status_exit(status: int) -> int:
    """The exit code of an HTTP status >= 400."""
    return _BY_STATUS.get(status, FAILURE)
