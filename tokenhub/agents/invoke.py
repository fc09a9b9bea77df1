"""The one way from a run to a command: what a model wrote goes in, the door's envelope comes out."""

import json
from typing import Any, cast

from tokenhub.commands.declare import Command
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.envelope import Envelope, Fault
from tokenhub.commands.redaction import is_secret
from tokenhub.commands.registry import Registry
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import NotFound


def invoke(
    registry: Registry,
    runtime: Runtime,
    principal: Principal,
    name: str,
    arguments: str,
    *,
    key: str = "",
    dry_run: bool = False,
    ask_only: bool = False,
) -> Envelope:
    """Run one command for an agent; never raises, every outcome is an envelope.

    `arguments` is the JSON object that the model wrote. `key` is the step's (`run:seq`): the effect happens once under
    it, and the audit row carries it as `request_id`.
    """
    raw = _object(arguments)
    if isinstance(raw, str):
        return Envelope("failure", error=Fault("invalid_json", raw, type="invalid_request_error", status=400))
    return execute(
        registry,
        runtime,
        principal,
        name,
        raw,
        dry_run=dry_run,
        ask_only=ask_only,
        idempotency_key=key,
        request_id=key,
    )


def told(registry: Registry, name: str, envelope: Envelope) -> dict[str, Any]:
    """The envelope as a model and the journal get it: no secret that is shown once, nothing that is empty."""
    found = {field: value for field, value in envelope.to_dict().items() if value not in (None, "", False)}
    if envelope.data is not None:
        declared = known(registry, name)
        fields = {} if declared is None else declared.result.model_fields
        secrets = {field for field in envelope.data if field in fields and is_secret(fields[field])}
        found["data"] = {
            field: "(shown to people only)" if field in secrets and value else value
            for field, value in envelope.data.items()
        }
    return {"ok": envelope.ok, **found}


def known(registry: Registry, name: str) -> Command | None:
    """The command of this name; None for an outside server's tool, and for what is none."""
    try:
        return registry.get(name)
    except NotFound:
        return None


def _object(text: str) -> dict[str, Any] | str:
    """The arguments, or what is wrong with them."""
    try:
        raw: object = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        return f"The arguments are not JSON: {str(error)[:200]}."
    if not isinstance(raw, dict):
        return "The arguments must be a JSON object."
    return cast(dict[str, Any], raw)
