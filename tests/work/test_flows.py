"""What people do with it: a leave request, versions of a document, a talk, a file."""

import base64

from tests.work.world import World


def test_a_request_goes_its_whole_route(world: World) -> None:
    request = world.ids["request"]
    assert world.call("bob", "request.show", request=request).error is not None, "not yet his step"
    first = world.do("admin", "request.approve", request=request, comment="enjoy")
    assert [step["state"] for step in first["steps"]] == ["approved", "open"] and first["state"] == "open"
    assert first["steps"][1]["deadline_at_ms"] is not None
    again = world.call("admin", "request.approve", request=request)
    assert again.error is not None and again.error.status == 403
    done = world.do("bob", "request.approve", request=request)
    assert done["state"] == "approved" and done["requester"] == "ana"
    assert world.do("ana", "notice.list")["items"][0]["kind"] == "decided"
    assert world.do("ana", "notice.read")["count"] > 0 and not world.do("ana", "notice.list")["items"]


def test_nobody_decides_their_own_request(world: World) -> None:
    made = world.do("bob", "request.create", form="expense", values={"sum": 5})
    assert made["steps"][0]["approver"] == "admin", "the route says bob"
    world.do("admin", "request.delegate", request=made["id"], user="ana")
    refused = world.call("ana", "request.delegate", request=made["id"], user="bob")
    assert refused.error is not None and "own request" in refused.error.message
    assert world.do("ana", "request.reject", request=made["id"], comment="too much")["state"] == "rejected"


def test_a_form_takes_only_what_it_asks_for(world: World) -> None:
    for values in ({}, {"sum": "much"}, {"sum": True}, {"sum": 1, "more": 2}):
        refused = world.call("ana", "request.create", form="expense", values=values)
        assert refused.error is not None and refused.error.status == 400, values


def test_nobodys_words_are_written_over(world: World) -> None:
    doc = world.ids["doc"]
    world.do("admin", "doc.share", doc=doc, user="ana", rights="write")
    assert world.do("ana", "doc.edit", doc=doc, content="second", base=1)["version"] == 2
    clash = world.call("admin", "doc.edit", doc=doc, content="third", base=1)
    assert clash.error is not None and clash.error.code == "outdated"
    assert world.do("admin", "doc.show", doc=doc, version=1)["content"] == "SECRETWORD plan"
    assert [item["author"] for item in world.do("ana", "doc.history", doc=doc)["items"]] == ["ana", "admin"]


def test_a_talk_has_threads_mentions_and_recalls(world: World) -> None:
    first = world.ids["message"]
    answer = world.do("ana", "message.send", text="Yes @admin @bob", thread=first)
    assert answer["thread"] == first
    assert any(item["kind"] == "mentioned" for item in world.do("admin", "notice.list")["items"])
    assert not any(item["kind"] == "mentioned" for item in world.do("bob", "notice.list")["items"]), (
        "he is not in it"
    )
    assert len(world.do("admin", "message.list", thread=first)["items"]) == 2
    assert world.call("admin", "message.edit", message=answer["id"], text="no").error is not None
    assert world.do("ana", "message.recall", message=answer["id"])["text"] == ""
    one = world.do("ana", "message.send", text="a", to="bob")
    assert world.do("bob", "message.send", text="b", to="ana")["channel"] == one["channel"]
    assert len(world.do("bob", "message.list", person="ana")["items"]) == 2


def test_a_file_keeps_its_versions_and_comes_back(world: World) -> None:
    second = base64.b64encode(b"second").decode()
    assert world.do("admin", "file.put", name="plan.txt", content_base64=second)["version"] == 2
    assert (
        world.do("admin", "file.get", file="plan.txt", version=1)["content_base64"]
        == base64.b64encode(b"a plan").decode()
    )
    assert world.call("ana", "file.get", file=world.ids["file"]).error is not None
    world.do("admin", "file.remove", file="plan.txt")
    removed = world.ids["last"]
    assert world.call("admin", "file.show", file="plan.txt").error is not None
    world.do("admin", "audit.undo", audit=removed)
    assert world.do("admin", "file.show", file="plan.txt")["version"] == 2
