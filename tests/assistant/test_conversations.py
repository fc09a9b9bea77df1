"""Conversations: list, search, rename, delete, versions of a turn, pages of a long thread."""

import asyncio
import threading

from tests.assistant.conftest import Hub
from tokenhub.assistant import run_store, store
from tokenhub.assistant.types import MessageId, RunEvent, RunId


async def test_list_search_rename_delete(hub: Hub) -> None:
    first, run = await hub.ask("About ledgers")
    await hub.ended(run["id"])
    second, run = await hub.ask("About 缓存")
    await hub.ended(run["id"])
    listed = (await hub.client.get("/api/assistant/conversations?limit=1")).json()
    assert [one["id"] for one in listed["data"]] == [second]
    rest = (await hub.client.get(f"/api/assistant/conversations?limit=1&after={listed['next']}")).json()
    assert [one["id"] for one in rest["data"]] == [first]
    assert rest["next"] is None
    found = (await hub.client.get("/api/assistant/conversations", params={"search": "缓存"})).json()
    assert [one["id"] for one in found["data"]] == [second]
    renamed = await hub.client.patch(f"/api/assistant/conversations/{first}", json={"title": "Books"})
    assert renamed.json()["title"] == "Books"
    assert (await hub.client.delete(f"/api/assistant/conversations/{first}")).status_code == 204
    assert (await hub.client.get(f"/api/assistant/conversations/{first}")).status_code == 404
    assert (await hub.client.get("/api/assistant/conversations?after=nonsense")).status_code == 400


async def test_regenerate_and_edit_make_versions_that_can_be_switched(hub: Hub) -> None:
    conversation_id, run = await hub.ask("first question")
    await hub.ended(run["id"])
    path = f"/api/assistant/conversations/{conversation_id}"

    async def shown() -> list[dict[str, object]]:
        return [turn["message"] for turn in (await hub.client.get(path)).json()["data"]]

    question, answer = await shown()
    redone = await hub.client.post(f"{path}/runs", json={"regenerate_id": answer["id"]})
    await hub.ended(redone.json()["run"]["id"])
    _, second = await shown()
    assert second["siblings"] == [answer["id"], second["id"]]
    edited = await hub.client.post(f"{path}/runs", json={"content": "first question, edited", "root": True})
    await hub.ended(edited.json()["run"]["id"])
    turns = await shown()
    assert turns[0]["content"] == "first question, edited"
    assert turns[0]["siblings"] == [question["id"], turns[0]["id"]]
    await hub.client.patch(path, json={"head_id": question["id"]})
    assert [turn["id"] for turn in await shown()] == [question["id"], second["id"]]
    again = await hub.client.post(f"{path}/runs", json={"content": "and then?"})
    await hub.ended(again.json()["run"]["id"])
    said = hub.script.requests[-1]["messages"]
    assert [message["role"] for message in said] == ["user", "assistant", "user"]
    assert (await hub.client.post(f"{path}/runs", json={"regenerate_id": question["id"]})).status_code == 400


async def test_one_answer_at_a_time(hub: Hub) -> None:
    conversation_id, run = await hub.ask("slow please")
    again = await hub.client.post(
        f"/api/assistant/conversations/{conversation_id}/runs", json={"content": "more"}
    )
    assert again.status_code == 409
    await hub.client.delete(f"/api/assistant/conversations/{conversation_id}")
    assert hub.script.open_streams <= 1
    assert (await hub.client.get(f"/api/assistant/runs/{run['id']}")).status_code == 404


async def test_a_conversation_is_deleted_while_an_entry_is_added(hub: Hub) -> None:
    """On PostgreSQL the entry comes between the deletion of the others and that of its run."""
    conversation_id, run = await hub.ask("first question")
    await hub.ended(run["id"])
    run_id, added, deleted = RunId(run["id"]), threading.Event(), threading.Event()

    def add(seq: int) -> None:
        with hub.database.write("hub") as connection:
            run_store.append_events(connection, run_id, [RunEvent(seq=seq, kind="ledger", data="{}")])
            added.set()
            deleted.wait(0.3)

    adding = asyncio.create_task(asyncio.to_thread(add, 1000))
    await asyncio.to_thread(added.wait)
    response = await hub.client.delete(f"/api/assistant/conversations/{conversation_id}")
    deleted.set()
    await adding
    assert response.status_code == 204
    await asyncio.to_thread(add, 1001)  # to a log that is gone: nothing
    with hub.database.read("hub") as connection:
        assert run_store.events_after(connection, run_id, after=0, limit=10) == []


async def test_a_long_thread_comes_in_pages(hub: Hub) -> None:
    made = (await hub.client.post("/api/assistant/conversations", json={"model": "paper-7b"})).json()
    parent: MessageId | None = None
    with hub.database.write("hub") as connection:
        for number in range(90):
            parent = store.add_message(
                connection,
                conversation_id=made["id"],
                parent_id=parent,
                role="user" if number % 2 == 0 else "assistant",
                content=f"turn {number}",
                status="complete",
                model="",
                run_id=None,
                at_ms=number,
            )
        store.update_conversation(connection, made["id"], head_id=parent)
    seen: list[str] = []
    before = ""
    while True:
        page = (await hub.client.get(f"/api/assistant/conversations/{made['id']}{before}")).json()
        seen = [turn["message"]["content"] for turn in page["data"]] + seen
        if page["previous"] is None:
            break
        before = f"?before={page['previous']}"
    assert seen == [f"turn {number}" for number in range(90)]


async def test_models_and_limits(hub: Hub) -> None:
    models = (await hub.client.get("/api/assistant/models")).json()
    assert models == {"data": [{"id": "paper-7b"}, {"id": "scripted-large"}], "default": "paper-7b"}
    limits = (await hub.client.get("/api/assistant/limits")).json()
    assert limits["data"][0]["unit"] == "tokens"
    assert limits["currency"] == "USD"
