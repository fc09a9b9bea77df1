"""Signing in and out: `POST /api/session` {key | login_token}, `GET`, `DELETE`."""

from typing import Annotated

from fastapi import APIRouter, Cookie, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tokenhub.http.auth import COOKIE, Caller, check_origin
from tokenhub.http.state import state_of
from tokenhub.identity import directory
from tokenhub.identity.sessions import OpenedSession, close_session, open_session, redeem_login_token
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import PermissionDenied

router = APIRouter(prefix="/api/session", tags=["session"])


class SignIn(BaseModel):
    """How to sign in: an API key or the token of a one-time link, exactly one."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = Field(default=None, max_length=512, description="An API key.")
    login_token: str | None = Field(default=None, max_length=512, description="Token of a one-time link.")

    @model_validator(mode="after")
    def _exactly_one(self) -> "SignIn":
        if bool(self.key) == bool(self.login_token):
            raise ValueError("send either `key` or `login_token`")
        return self


class Who(BaseModel):
    """Who is signed in."""

    org_id: str
    org: str = Field(description="Name of the organisation.")
    user_id: str | None
    name: str = Field(description="Name of the user or service account; empty for a key of neither.")
    team_id: str | None
    project_id: str | None
    key_id: str
    scopes: list[str]
    models: list[str] | None = Field(description="Model names that may be called; null = all.")
    expires_at_ms: int | None


@router.post("", summary="Sign in with a key or a one-time link; sets the cookie")
def sign_in(body: SignIn, request: Request, response: Response) -> Who:
    """Open a session and set its cookie."""
    if request.headers.get("origin") is not None:
        check_origin(request)
    state = state_of(request)
    at_ms = state.clock.now_ms()
    with state.database.write("hub") as connection:
        opened = (
            open_session(connection, body.key, at_ms=at_ms)
            if body.key
            else redeem_login_token(connection, body.login_token or "", at_ms=at_ms)
        )
    _set_cookie(response, opened, secure=request.url.scheme == "https", at_ms=at_ms)
    return _who(request, opened.principal)


@router.get("", summary="Who this cookie or key stands for")
def who_am_i(request: Request, caller: Caller) -> Who:
    """Who this cookie or key stands for; 401 if nobody."""
    return _who(request, caller)


@router.delete("", status_code=204, summary="Sign out")
def sign_out(
    request: Request, response: Response, th_session: Annotated[str | None, Cookie()] = None
) -> None:
    """End the session and its cookie; harmless if there is none."""
    if th_session:
        check_origin(request)
        state = state_of(request)
        with state.database.write("hub") as connection:
            close_session(connection, th_session, at_ms=state.clock.now_ms())
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


def _who(request: Request, principal: Principal) -> Who:
    with state_of(request).database.read("hub") as connection:
        org = directory.organization(connection, principal.org_id)
        name = directory.actor_name(connection, principal)
    if org is None:
        raise PermissionDenied("The organisation of this key is gone.")
    return Who(
        org_id=principal.org_id,
        org=org.name,
        user_id=principal.user_id,
        name=name,
        team_id=principal.team_id,
        project_id=principal.project_id,
        key_id=principal.key_id,
        scopes=sorted(principal.scopes),
        models=None if principal.models is None else sorted(principal.models),
        expires_at_ms=principal.expires_at_ms,
    )


def _set_cookie(response: Response, opened: OpenedSession, *, secure: bool, at_ms: int) -> None:
    response.set_cookie(
        COOKIE,
        opened.token,
        max_age=max(0, (opened.expires_at_ms - at_ms) // 1000),
        path="/",
        httponly=True,
        samesite="strict",
        secure=secure,
    )
