"""Keys: one secret leads to one principal, and every way to end it ends it."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tokenhub.config import Settings
from tokenhub.db import revision
from tokenhub.db.engine import Database
from tokenhub.identity import directory, first_run, sessions
from tokenhub.identity.keys import (
    KeySpec,
    authenticate,
    create_key,
    delegate,
    find_key,
    hash_secret,
    load_keys,
    revoke_key,
    rotate_key,
)
from tokenhub.identity.sweep import KEPT_MS, sweep
from tokenhub.identity.types import CreatedKey
from tokenhub.kernel.errors import InvalidRequest, NotFound, Unauthenticated

T = 1_800_000_000_000
HOUR = 3_600_000


@pytest.fixture
def hub(database: Database, settings: Settings) -> first_run.FirstRun:
    with database.write("hub") as connection:
        made = first_run.ensure_first_run(connection, settings, at_ms=T)
    assert made is not None
    return made


def _key(database: Database, hub: first_run.FirstRun, **fields: object) -> CreatedKey:
    options: dict[str, object] = {
        "org_id": hub.org_id,
        "name": "app",
        "scopes": frozenset({"inference"}),
        "user_id": hub.user_id,
        **fields,
    }
    with database.write("hub") as connection:
        return create_key(connection, KeySpec(**options), at_ms=T)  # type: ignore[arg-type]


def test_first_run_happens_once(database: Database, settings: Settings, hub: first_run.FirstRun) -> None:
    assert hub.generated and hub.admin_key.startswith("sk-th-") and len(hub.admin_key) == 49
    with database.write("hub") as connection:
        assert first_run.ensure_first_run(connection, settings, at_ms=T) is None
        assert authenticate(connection, hub.admin_key, at_ms=T).allows("admin")
    credentials = settings.home / "credentials"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600


def test_first_key_may_be_given(database: Database, settings: Settings) -> None:
    given = replace(settings, admin_key="my-own-admin-key")
    with database.write("hub") as connection:
        made = first_run.ensure_first_run(connection, given, at_ms=T)
        assert made is not None and made.admin_key == "my-own-admin-key" and not made.generated
        assert authenticate(connection, "my-own-admin-key", at_ms=T).user_id == made.user_id


@pytest.mark.parametrize("key", ["abc", "with a space", "schl\u00fcssel-1"])
def test_a_first_key_that_cannot_be_one_is_refused(database: Database, settings: Settings, key: str) -> None:
    given = replace(settings, admin_key=key)
    with pytest.raises(InvalidRequest), database.write("hub") as connection:
        first_run.ensure_first_run(connection, given, at_ms=T)


def test_the_local_operator_is_an_owner_who_counts(database: Database, hub: first_run.FirstRun) -> None:
    with database.write("hub") as connection:
        second = directory.create_user(
            connection, hub.org_id, name="second", email=None, role="owner", at_ms=T
        )
        first = directory.find(connection, directory.User, hub.org_id, hub.user_id)
        directory.disable_user(connection, hub.org_id, first, at_ms=T)
        assert first_run.local_operator(connection).user_id == second.id


def test_snapshot_has_each_live_secret(database: Database, hub: first_run.FirstRun) -> None:
    key = _key(database, hub, models=frozenset({"tiny"}), expires_at_ms=T + HOUR)
    with database.read("hub") as connection:
        records = {record.hash: record.principal for record in load_keys(connection, at_ms=T)}
        later = {record.hash for record in load_keys(connection, at_ms=T + HOUR)}
    principal = records[hash_secret(key.secret)]
    assert principal.key_id == key.key_id and principal.models == {"tiny"}
    assert principal.expires_at_ms == T + HOUR and principal.scopes == {"inference"}
    assert len(records) == 3 and hash_secret(key.secret) not in later


def test_rotation_keeps_the_id_and_overlaps(database: Database, hub: first_run.FirstRun) -> None:
    old = _key(database, hub)
    with database.write("hub") as connection:
        new = rotate_key(connection, old.key_id, org_id=hub.org_id, overlap_ms=HOUR, at_ms=T)
    assert new.key_id == old.key_id and new.secret != old.secret
    with database.read("hub") as connection:
        assert authenticate(connection, old.secret, at_ms=T + HOUR - 1).key_id == old.key_id
        assert authenticate(connection, new.secret, at_ms=T + HOUR).key_id == old.key_id
        with pytest.raises(Unauthenticated, match="expired"):
            authenticate(connection, old.secret, at_ms=T + HOUR)


def test_revocation_ends_key_and_children_and_moves_the_revision(
    database: Database, hub: first_run.FirstRun
) -> None:
    key = _key(database, hub)
    with database.write("hub") as connection:
        parent = authenticate(connection, key.secret, at_ms=T)
        child = delegate(connection, parent, app="assistant", ttl_ms=HOUR, at_ms=T)
        grandchild = delegate(
            connection, authenticate(connection, child.secret, at_ms=T), app="work", ttl_ms=9 * HOUR, at_ms=T
        )
        before = revision.current(connection)
    with database.read("hub") as connection:
        found = find_key(connection, hash_secret(grandchild.secret), at_ms=T)
        assert found is not None
        assert found.principal.parent_key_id == key.key_id and found.principal.app == "work"
        assert found.principal.expires_at_ms == T + HOUR
    with database.write("hub") as connection:
        assert revoke_key(connection, key.key_id, org_id=hub.org_id, at_ms=T)
        assert not revoke_key(connection, key.key_id, org_id=hub.org_id, at_ms=T)
        assert revision.current(connection) > before
    with database.read("hub") as connection:
        assert find_key(connection, hash_secret(child.secret), at_ms=T) is None
        with pytest.raises(Unauthenticated, match="revoked"):
            authenticate(connection, key.secret, at_ms=T)


def test_keys_of_another_organisation_do_not_exist(database: Database, hub: first_run.FirstRun) -> None:
    key = _key(database, hub)
    with pytest.raises(NotFound), database.write("hub") as connection:
        revoke_key(connection, key.key_id, org_id="org_other", at_ms=T)


def test_login_link_works_once(database: Database, hub: first_run.FirstRun) -> None:
    with database.write("hub") as connection:
        token = sessions.create_login_token(connection, org_id=hub.org_id, user_id=hub.user_id, at_ms=T)
        late = sessions.create_login_token(connection, org_id=hub.org_id, user_id=hub.user_id, at_ms=T)
        opened = sessions.redeem_login_token(connection, token, at_ms=T + 1)
        with pytest.raises(Unauthenticated):
            sessions.redeem_login_token(connection, token, at_ms=T + 2)
        with pytest.raises(Unauthenticated):
            sessions.redeem_login_token(connection, late, at_ms=T + sessions.LOGIN_TTL_MS)
        who = sessions.session_principal(connection, opened.token, at_ms=T + 3)
        assert who == opened.principal and who.user_id == hub.user_id and who.app == "console"
        child = delegate(connection, who, app="assistant", ttl_ms=HOUR, at_ms=T)
        sessions.close_session(connection, opened.token, at_ms=T + 4)
        with pytest.raises(Unauthenticated):
            sessions.session_principal(connection, opened.token, at_ms=T + 5)
        assert find_key(connection, hash_secret(child.secret), at_ms=T + 5) is None


def test_session_by_key_ends_with_the_key(database: Database, hub: first_run.FirstRun) -> None:
    key = _key(database, hub)
    with database.write("hub") as connection:
        opened = sessions.open_session(connection, key.secret, at_ms=T)
        assert opened.principal.key_id == key.key_id
        revoke_key(connection, key.key_id, org_id=hub.org_id, at_ms=T)
        with pytest.raises(Unauthenticated):
            sessions.session_principal(connection, opened.token, at_ms=T)
        assert sweep(connection, at_ms=T + KEPT_MS) == 0
        assert sweep(connection, at_ms=T + KEPT_MS + 1) == 1  # the revoked key's secret
        assert sweep(connection, at_ms=T + KEPT_MS + sessions.SESSION_TTL_MS + 1) == 1  # the session
        assert sweep(connection, at_ms=T + KEPT_MS + sessions.SESSION_TTL_MS + 1) == 0


def test_two_first_starts_at_once_make_one_organisation(database: Database, settings: Settings) -> None:
    def start() -> first_run.FirstRun | None:
        with database.write("hub") as connection:
            return first_run.ensure_first_run(connection, settings, at_ms=T)

    with ThreadPoolExecutor(4) as pool:
        made = [one for one in pool.map(lambda _: start(), range(4)) if one is not None]
    assert len(made) == 1
    with database.read("hub") as connection:
        assert len(load_keys(connection, at_ms=T)) == 2
        secret = json.loads((settings.home / "credentials").read_text())["key"]
        assert authenticate(connection, secret, at_ms=T).allows("admin")
