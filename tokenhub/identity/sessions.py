"""Signing in to the console: one-time login links and cookie sessions.

A session acts as a key: the key it was opened with, or, after a login link, a key of its own without a secret,
so that what a person does in the console has a place in the books. Only hashes of tokens are stored.
"""

from dataclasses import dataclass
from secrets import token_urlsafe

from sqlalchemy import Connection, delete, insert, select, update

from tokenhub.db import revision
from tokenhub.identity.errors import UserNotFound
from tokenhub.identity.keys import KeySpec, authenticate, insert_key, principal_of
from tokenhub.identity.scopes import ROLES
from tokenhub.identity.secrets import hash_hex
from tokenhub.identity.tables import api_keys, console_sessions, login_tokens, users
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Unauthenticated
from tokenhub.kernel.ids import new_id

LOGIN_TTL_MS = 10 * 60 * 1000
SESSION_TTL_MS = 14 * 24 * 60 * 60 * 1000
_LINK_DEAD = "This sign-in link was used already or has expired. Make a new one with `hub login-link create`."


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session just opened; `token` goes into the cookie and is stored nowhere."""

    id: str
    token: str
    expires_at_ms: int
    principal: Principal


def create_login_token(
    connection: Connection, *, org_id: str, user_id: str, at_ms: int, ttl_ms: int = LOGIN_TTL_MS
) -> str:
    """A token that signs this user in once, within `ttl_ms`. Raises: NotFound for no such live user."""
    live = (users.c.id == user_id) & (users.c.org_id == org_id) & users.c.disabled_at_ms.is_(None)
    if connection.execute(select(users.c.id).where(live)).one_or_none() is None:
        raise UserNotFound(f"No user {user_id!r} who may sign in.", param="user")
    token = token_urlsafe(32)
    connection.execute(
        insert(login_tokens).values(
            hash=hash_hex(token), user_id=user_id, created_at_ms=at_ms, expires_at_ms=at_ms + ttl_ms
        )
    )
    return token


def redeem_login_token(connection: Connection, token: str, *, at_ms: int) -> OpenedSession:
    """Use up a login token and open a session of its user. Raises: Unauthenticated."""
    usable = (
        (login_tokens.c.hash == hash_hex(token))
        & login_tokens.c.used_at_ms.is_(None)
        & (login_tokens.c.expires_at_ms > at_ms)
    )
    user_id = connection.execute(
        update(login_tokens).where(usable).values(used_at_ms=at_ms).returning(login_tokens.c.user_id)
    ).scalar_one_or_none()
    if user_id is None:
        raise Unauthenticated(_LINK_DEAD, code="invalid_login_token")
    user = connection.execute(select(users).where(users.c.id == user_id)).one()
    spec = KeySpec(
        org_id=user.org_id,
        name="console",
        scopes=ROLES[user.role],
        user_id=user.id,
        expires_at_ms=at_ms + SESSION_TTL_MS,
        app="console",
    )
    return _open(connection, insert_key(connection, spec, at_ms=at_ms), at_ms=at_ms)


def open_session(connection: Connection, secret: str, *, at_ms: int) -> OpenedSession:
    """Open a session that acts as the key of `secret`. Raises: Unauthenticated."""
    return _open(connection, authenticate(connection, secret, at_ms=at_ms).key_id, at_ms=at_ms)


def session_principal(connection: Connection, token: str, *, at_ms: int) -> Principal:
    """Who a cookie stands for. Raises: Unauthenticated."""
    key_id = connection.execute(
        select(console_sessions.c.key_id).where(
            console_sessions.c.hash == hash_hex(token), console_sessions.c.expires_at_ms > at_ms
        )
    ).scalar_one_or_none()
    if key_id is None:
        raise Unauthenticated("You are signed out. Sign in again.", code="no_session")
    return principal_of(connection, key_id, at_ms=at_ms)


def close_session(connection: Connection, token: str, *, at_ms: int) -> None:
    """Sign out: the cookie stops counting, and so does the key that a login link made for it."""
    key_id = connection.execute(
        delete(console_sessions)
        .where(console_sessions.c.hash == hash_hex(token))
        .returning(console_sessions.c.key_id)
    ).scalar_one_or_none()
    own = (api_keys.c.id == key_id) & (api_keys.c.app == "console")
    if key_id and connection.execute(update(api_keys).where(own).values(revoked_at_ms=at_ms)).rowcount:
        revision.bump(connection)


def _open(connection: Connection, key_id: str, *, at_ms: int) -> OpenedSession:
    token = token_urlsafe(32)
    principal = principal_of(connection, key_id, at_ms=at_ms)
    ends = at_ms + SESSION_TTL_MS
    if principal.expires_at_ms is not None:
        ends = min(ends, principal.expires_at_ms)
    session_id = new_id("sess")
    connection.execute(
        insert(console_sessions).values(
            hash=hash_hex(token), id=session_id, key_id=key_id, created_at_ms=at_ms, expires_at_ms=ends
        )
    )
    return OpenedSession(session_id, token, ends, principal)
