"""Which entries a settled request makes. Pure; `verify` recomputes the books with the same function.

Tokens, per organisation and model: created (credit) = delivered + undelivered + overage (debits).
Money, per currency: receivable of the organisation (debit) = revenue of the model (credit); what an outside
provider booked beyond the hold stands on the organisation's overage account instead of its receivable.
"""

from collections import defaultdict
from collections.abc import Iterable

from tokenhub.ledger.transfers import TOKENS, Account, Entry
from tokenhub.metering.groups import Group


def entries_of(groups: Iterable[Group]) -> list[Entry]:
    """The entries of one transfer that settles these requests: one a kind, organisation and model, none zero."""
    sums: dict[Account, int] = defaultdict(int)
    totals: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for group in groups:
        total = totals[group.org_id, group.model, group.currency]
        total[0] += group.tokens
        total[1] += group.undelivered
        total[2] += group.overage_tokens
        total[3] += group.amount_nano
        total[4] += group.overage_nano
    for (org_id, model, currency), (tokens, undelivered, overage, amount, overage_nano) in totals.items():
        holder = f"{org_id}/{model}"
        sums[Account("created", TOKENS, holder)] -= tokens + undelivered
        sums[Account("delivered", TOKENS, holder)] += tokens - overage
        sums[Account("undelivered", TOKENS, holder)] += undelivered
        sums[Account("overage", TOKENS, holder)] += overage
        sums[Account("receivable", currency, org_id)] += amount - overage_nano
        sums[Account("overage", currency, org_id)] += overage_nano
        sums[Account("revenue", currency, model)] -= amount
    return [Entry(account, amount) for account, amount in sorted(sums.items()) if amount]
