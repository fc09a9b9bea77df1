"""Runs: streamed into a log, followed from any entry, stopped at once, kept after a crash, booked."""

import asyncio
import json

import pytest
from sqlalchemy import delete, update

from tests.assistant.conftest import Hub
from tests.assistant.scripted_upstream import SHORT
from tokenhub.assistant import run_store, tables
from tokenhub.assistant.tables import message, run_event
from tokenhub.kernel.clock import now_ms


async def follow(
    hub: Hub, run_id: str, *, after: int = 0, stop_after: int = 10**9
) -> list[tuple[int, str, dict[str, object]]]:
    """Entries of a run as a page receives them; at most `stop_after`."""
    found: list[tuple[int, str, dict[str, object]]] = []
    seq, kind = 0, ""
    async with hub.client.stream("GET", f"/api/assistant/runs/{run_id}/events?after={after}") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                seq = int(value)
            elif name == "event":
                kind = value
            elif name == "data" and kind != "close":
                found.append((seq, kind, json.loads(value)))
                if len(found) >= stop_after:
                    break
    return found


def text_of(entries: list[tuple[int, str, dict[str, object]]]) -> str:
    return "".join(str(data["t"]) for _, kind, data in entries if kind == "text")


async def test_an_answer_is_streamed_stored_and_booked(hub: Hub) -> None:
    conversation_id, run = await hub.ask("Explain double entry")
    entries = await follow(hub, run["id"])
    assert [seq for seq, _, _ in entries] == list(range(1, len(entries) + 1))
    assert [entries[0][1], entries[-2][1], entries[-1][1]] == ["start", "end", "ledger"]
    assert text_of(entries) == SHORT
    page = (await hub.client.get(f"/api/assistant/conversations/{conversation_id}")).json()
    question, answer = page["data"]
    assert page["conversation"]["title"] == "Explain double entry"
    assert (question["message"]["role"], question["message"]["content"]) == ("user", "Explain double entry")
    assert (answer["message"]["status"], answer["message"]["content"]) == ("complete", SHORT)
    line = answer["ledger"]
    assert line["output_tokens"] == hub.script.sent == entries[-1][2]["output_tokens"]
    assert hub.books.applied[line["request_id"]] == (line["output_tokens"], 0)
    sent = hub.script.requests[0]
    assert sent["messages"] == [{"role": "user", "content": "Explain double entry"}]
    assert sent["stream"] is True


async def test_several_followers_and_a_late_one_see_every_character_once(hub: Hub) -> None:
    _, run = await hub.ask("Explain double entry")
    first = asyncio.create_task(follow(hub, run["id"]))
    broken = await follow(hub, run["id"], stop_after=6)
    resumed = await follow(hub, run["id"], after=broken[-1][0])
    late = await follow(hub, run["id"])
    assert text_of(await first) == text_of(late) == text_of(broken) + text_of(resumed) == SHORT


async def test_stop_ends_the_upstream_and_keeps_the_text(hub: Hub) -> None:
    conversation_id, run = await hub.ask("slow please")
    await follow(hub, run["id"], stop_after=5)
    stopped = (await hub.client.post(f"/api/assistant/runs/{run['id']}/stop")).json()
    sent = hub.script.sent
    assert stopped["status"] == "stopped"
    await asyncio.sleep(0.5)
    assert hub.script.open_streams == 0
    assert hub.script.sent - sent <= 2
    page = (await hub.client.get(f"/api/assistant/conversations/{conversation_id}")).json()
    message = page["data"][-1]["message"]
    assert message["status"] == "stopped"
    assert message["content"] and hub.script.texts["slow"].startswith(message["content"])
    entries = await follow(hub, run["id"])
    assert text_of(entries) == message["content"]
    assert entries[-1][1] == "ledger"
    again = await hub.client.post(f"/api/assistant/runs/{run['id']}/stop")
    assert again.json()["status"] == "stopped"


async def test_a_refusal_is_told_in_the_gateways_words(hub: Hub) -> None:
    _, run = await hub.ask("fail please")
    ended = await hub.ended(run["id"])
    assert (ended["status"], ended["error_code"]) == ("error", "out_of_paper")
    entries = await follow(hub, run["id"])
    assert entries[-1][1:] == (
        "end",
        {
            "status": "error",
            "finish_reason": "",
            "error_code": "out_of_paper",
            "error_message": "The engine is out of paper.",
        },
    )


async def test_runs_of_a_crashed_process_become_interrupted_and_keep_their_text(hub: Hub) -> None:
    conversation_id, run = await hub.ask("Explain double entry")
    entries = await follow(hub, run["id"])
    cut = [entry for entry in entries if entry[1] == "text"][:2]
    # As a crash leaves it: two batches of text are stored, nothing says that the run has ended.
    with hub.database.write("hub") as connection:
        connection.execute(delete(run_event).where(run_event.c.seq > cut[-1][0]))
        connection.execute(update(tables.run).values(status="running", ended_at_ms=None))
        connection.execute(
            update(message).where(message.c.run_id == run["id"]).values(status="running", content="")
        )
    hub.books.applied.clear()
    await hub.runner.start()
    page = (await hub.client.get(f"/api/assistant/conversations/{conversation_id}")).json()
    kept = page["data"][-1]["message"]
    assert (kept["status"], kept["content"]) == ("interrupted", text_of(cut))
    after = await follow(hub, run["id"])
    assert text_of(after) == kept["content"]
    assert after[-1][2]["status"] == "interrupted"
    pieces = sum(int(str(data["n"])) for _, _, data in cut)
    assert list(hub.books.applied.values()) == [(pieces, hub.script.sent - pieces)]


async def test_a_pruned_log_is_replaced_by_the_whole_text(hub: Hub) -> None:
    _, run = await hub.ask("Explain double entry")
    await follow(hub, run["id"])
    with hub.database.write("hub") as connection:
        assert run_store.prune_events(connection, ended_before_ms=now_ms() + 1) > 0
    entries = await follow(hub, run["id"])
    assert [kind for _, kind, _ in entries] == ["snapshot", "end"]
    assert entries[0][2]["text"] == SHORT


@pytest.mark.parametrize("path", ["", "/events", "/ledger"])
async def test_another_key_sees_nothing(hub: Hub, path: str) -> None:
    _, run = await hub.ask("Explain double entry")
    await hub.ended(run["id"])
    made = await hub.client.get(
        f"/api/assistant/runs/{run['id']}{path}", headers={"authorization": "Bearer sk-th-nobody"}
    )
    assert made.status_code == 401
