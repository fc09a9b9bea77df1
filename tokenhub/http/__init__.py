"""HTTP conventions shared by every route: errors, auth dependency, SSE, pagination, idempotency."""
