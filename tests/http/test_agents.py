"""An agent's key opens the commands and nothing else."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tokenhub.http.auth import Caller


def test_an_agents_key_opens_commands_only(app: FastAPI, client: TestClient, bearer: dict[str, str]) -> None:
    @app.get("/api/private")
    def private(caller: Caller) -> dict[str, str]:
        return {"user": caller.user_id or ""}

    def post(name: str, body: dict[str, object], headers: dict[str, str]) -> dict[str, object]:
        return client.post(f"/api/commands/{name}", json=body, headers=headers).json()

    assert client.get("/api/private", headers=bearer).status_code == 200
    assert post("agent.create", {"name": "helper"}, bearer)["ok"]
    lent = post("grant.create", {"agent": "helper", "commands": ["team.*"]}, bearer)
    agent = {"authorization": f"Bearer {lent['data']['key']}"}  # type: ignore[index]
    assert post("team.create", {"name": "a"}, agent)["ok"]
    assert post("user.create", {"name": "x"}, agent)["error"]["code"] == "policy_denied"  # type: ignore[index]
    refused = client.get("/api/private", headers=agent)
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "agents_use_commands"
