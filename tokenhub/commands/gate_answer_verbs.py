"""`hub gate answer`: several questions in one sitting, each for itself."""

from pydantic import Field

from tokenhub.commands import gates
from tokenhub.commands.authority import Ask
from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.commands.gate_verbs import GateDecide, GateView, gate_approve, gate_deny
from tokenhub.commands.resources import Found
from tokenhub.kernel.errors import InvalidRequest, PermissionDenied

VERBS: list[Command] = []
ANSWERS_MAX = 50


class GateAnswers(Model):
    """A yes or a no to each."""

    approve: list[str] = Field(
        default=[], max_length=ANSWERS_MAX, description="Ids of questions that get a yes."
    )
    deny: list[str] = Field(default=[], max_length=ANSWERS_MAX, description="Ids of questions that get a no.")
    comment: str = Field(default="", max_length=500, description="Why; whoever asked is told.")


class GateAnswered(Model):
    """The questions as they are now."""

    items: list[GateView]


@command(
    "gate.answer",
    effect="irreversible",
    resource="",
    sinks=("approve", "deny"),
    permission="",
    trust="untrusted",
    summary="Answer several questions at once, all or none.",
    columns=("id", "command", "arguments", "state"),
    examples=[
        Example(
            "hub gate answer --approve gate_01…,gate_02… --deny gate_03…", "What a run asks, in one sitting"
        )
    ],
)
def gate_answer(ctx: Context, args: GateAnswers) -> GateAnswered:
    """Each as by `hub gate approve` or `hub gate deny`, with what those need; if one cannot be answered, none is."""
    named = [*args.approve, *args.deny]
    if not named or len(set(named)) != len(named):
        raise InvalidRequest("Name each question once, with `approve` or `deny`.", param="approve")
    answered: list[GateView] = []
    for answer, chosen in (("gate.approve", args.approve), ("gate.deny", args.deny)):
        for gate_id in chosen:
            _may(ctx, answer, gate_id, args.comment)
            decide = gate_approve if answer == "gate.approve" else gate_deny
            answered.append(decide(ctx, GateDecide(gate=gate_id, comment=args.comment)))
    return GateAnswered(items=answered)


def _may(ctx: Context, answer: str, gate_id: str, comment: str) -> None:
    """What an organisation's policies say of the single answer holds here too. Raises: PermissionDenied."""
    gate = gates.find(ctx.hub, ctx.principal, gate_id)
    found = Found(gate.id, gate.user_id or "")
    raw = {"gate": gate.id, "comment": comment}
    asked = Ask(ctx.registry.get(answer), ctx.principal, raw, found, vouched=True, at_ms=ctx.now_ms)
    if ctx.view.decide(ctx.hub, asked).verdict != "allow":
        raise PermissionDenied(
            f"`{answer}` of {gate.id} is not permitted to you.",
            code="policy_denied",
            hint=f"See `hub policy why {answer}`.",
        )
