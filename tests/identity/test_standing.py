"""Where a person stands, and the policies over them, in one statement."""

import pytest
from sqlalchemy import insert, update

from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.identity import departments, directory, policies
from tokenhub.identity.first_run import FirstRun, ensure_first_run
from tokenhub.identity.standing import Standing, grounds, standing
from tokenhub.identity.tables import departments as department_rows
from tokenhub.identity.tables import memberships, teams

T = 1_800_000_000_000
NOWHERE = Standing("", (), ())


@pytest.fixture
def hub(database: Database, settings: Settings) -> FirstRun:
    with database.write("hub") as connection:
        made = ensure_first_run(connection, settings, at_ms=T)
    assert made is not None
    return made


@pytest.fixture
def placed(database: Database, hub: FirstRun) -> dict[str, str]:
    """Ids of departments by name: the owner is in `lab` (below `research`, below `house`) and in `house`."""
    above: str | None = None
    ids: dict[str, str] = {}
    with database.write("hub") as connection:
        me = directory.find(connection, directory.User, hub.org_id, hub.user_id)
        for name in ("house", "research", "lab"):
            made = departments.create(
                connection, hub.org_id, name=name, parent_id=above, lead_id=None, at_ms=T
            )
            above = ids[name] = made.id
            if name != "research":
                departments.join(connection, made, me, title="", at_ms=T)
        for team in ("team_b", "team_a"):
            connection.execute(insert(teams).values(id=team, org_id=hub.org_id, name=team, created_at_ms=T))
            connection.execute(insert(memberships).values(team_id=team, user_id=hub.user_id, created_at_ms=T))
    return ids


def test_role_teams_and_each_department_with_those_above(
    database: Database, hub: FirstRun, placed: dict[str, str]
) -> None:
    with database.read("hub") as connection:
        known = standing(connection, hub.org_id, hub.user_id)
    assert (known.role, known.teams) == ("owner", ("team_a", "team_b"))
    house, research, lab = placed.values()
    assert set(known.departments) == {(house,), (lab, research, house)}


def test_a_circle_of_departments_ends(database: Database, hub: FirstRun, placed: dict[str, str]) -> None:
    house, research, lab = placed.values()
    with database.write("hub") as connection:
        connection.execute(update(department_rows).where(department_rows.c.id == house).values(parent_id=lab))
        known = standing(connection, hub.org_id, hub.user_id)
    assert set(known.departments) == {(house, lab, research), (lab, research, house)}


def test_the_newest_policies_come_with_it(database: Database, hub: FirstRun, placed: dict[str, str]) -> None:
    with database.write("hub") as connection:
        known = standing(connection, hub.org_id, hub.user_id)
        assert grounds(connection, hub.org_id, hub.user_id) == (0, "", known)
        for text in ("// one", "// two"):
            policies.apply(connection, hub.org_id, text, note="", actor="me", at_ms=T)
        assert grounds(connection, hub.org_id, hub.user_id) == (2, "// two", known)
        assert grounds(connection, hub.org_id, "") == (2, "// two", NOWHERE)
        assert grounds(connection, "org_other", hub.user_id)[:2] == (0, "")
        assert standing(connection, "org_other", hub.user_id).role == "", "a role is of its organisation"
