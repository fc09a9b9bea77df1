"""Copies of a world that was built a moment ago: building one takes two seconds, a copy a few hundredths.

Only a moment: a world has letters that wait and grants that end, so an old copy would be another world. Within a minute
nothing of it ends: its tests hold in one of two minutes too.
"""

import shutil
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from tests.work.world import World, build
from tokenhub.config import Settings
from tokenhub.db.engine import Database

AGE_S_MAX = 60.0
_numbers = count()


@dataclass
class _Kept:
    at: float
    home: Path
    name: str
    world: World


_kept: dict[str, _Kept] = {}


def world_in(database: Database, settings: Settings) -> World:
    """A world in this database, which is fresh; built, or copied from one that is young."""
    kept = _kept.get(database.dialect)
    if kept is not None and time.monotonic() - kept.at < AGE_S_MAX:
        database.close()
        _copy_home(kept.home, settings.home)
        if settings.database_url:
            copy_database(settings.database_url, kept.name, _name(settings.database_url))
        dicts = (kept.world.people, kept.world.keys, kept.world.ids)
        return World(database, settings, *map(deepcopy, dicts))
    started = time.monotonic()
    world = build(database, settings)
    database.close()
    home = Path(tempfile.mkdtemp(prefix="th-world-")) if kept is None else kept.home
    _copy_home(settings.home, home)
    name = ""
    if settings.database_url:
        name = f"th_world_{next(_numbers)}"
        copy_database(settings.database_url, _name(settings.database_url), name)
    dicts = (world.people, world.keys, world.ids)
    _kept[database.dialect] = _Kept(started, home, name, World(database, settings, *map(deepcopy, dicts)))
    return world


def _copy_home(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def _name(url: str) -> str:
    return make_url(url).database or ""


def copy_database(url: str, source: str, target: str) -> None:
    """On the server of this URL; what was called `target` is dropped."""
    server = url.replace(f"/{_name(url)}?", "/postgres?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {target} TEMPLATE {source} STRATEGY file_copy".encode())
