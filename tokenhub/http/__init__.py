"""HTTP conventions shared by every route: errors, request ids, who calls, SSE, pages, security headers.

Owns: the wire form of an error and the way from a cookie or a key to a `Principal`. Never: a route of a domain
package (those stand in its `api.py`). Start at `conventions.py` (`install`), then `auth.py`.
"""
