"""Verbs of the price book: `hub price list|show|history|set|import` (`simulate` lives in `clearing`)."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.commands import Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest, NotFound
from tokenhub.kernel.money import MONEY_MAX_NANO, PER, parse_nano
from tokenhub.pricing import genai_list, store
from tokenhub.pricing.errors import InvalidPrice
from tokenhub.pricing.price import Price
from tokenhub.pricing.rules import parse_rules
from tokenhub.pricing.store import DEFAULT_BOOK, LEAD_MS, Version
from tokenhub.pricing.types import NO_END_MS, RateCard, Rates, Rules, canonical

RATE_FIELDS: tuple[str, ...] = tuple(name for name in Rates.__struct_fields__ if name != "request")
IMPORT_LEAD_MS = 10_000
"""A whole list takes seconds to write; it starts when every gateway has read it."""
_PER_MILLION = "per 1,000,000 tokens, in units of the currency, such as 0.25"


class PriceView(Model):
    """One price version. Rates in units of `currency` per 1,000,000 tokens, as exact decimals."""

    version: str
    sku: str
    book: str
    currency: str
    input: str | None = None
    cache_read: str | None = None
    output: str | None = None
    effective_from: str
    effective_to: str | None
    in_force: bool
    details: str = Field(
        description="What the price says beyond plain text rates: tiers, windows, service tiers."
    )
    rules: str = Field(description="The canonical rules, in nano-units per 1,000,000 units.")
    sha256: str
    source: str
    memo: str = ""


class PriceList(PageResult):
    """Prices of a book."""

    items: list[PriceView]


class ListArgs(PageArgs):
    book: str = Field(default=DEFAULT_BOOK, description="The price book; `default` is the one that bills.")
    match: str = Field(default="", description="Only SKUs that contain this text.")


class SkuArgs(Model):
    sku: str = Field(description="Public model name, or provider/model.")
    book: str = Field(default=DEFAULT_BOOK, description="The price book; `default` is the one that bills.")


class SetArgs(Model):
    sku: str = Field(min_length=1, max_length=200, description="Public model name, or provider/model.")
    input: str | None = Field(default=None, description=f"Input {_PER_MILLION}.")
    output: str | None = Field(default=None, description=f"Output {_PER_MILLION}.")
    cache_read: str | None = Field(default=None, description=f"Cached input {_PER_MILLION} (else as input).")
    cache_write: str | None = Field(default=None, description=f"Cache writes {_PER_MILLION} (else as input).")
    cache_write_long: str | None = Field(default=None, description=f"Long cache writes {_PER_MILLION}.")
    reasoning: str | None = Field(default=None, description=f"Reasoning {_PER_MILLION} (else as output).")
    audio_input: str | None = Field(default=None, description=f"Audio input {_PER_MILLION}.")
    audio_output: str | None = Field(default=None, description=f"Audio output {_PER_MILLION}.")
    image_input: str | None = Field(default=None, description=f"Image input {_PER_MILLION}.")
    image_output: str | None = Field(default=None, description=f"Image output {_PER_MILLION}.")
    per_request: str | None = Field(default=None, description="Price of each call, in units of the currency.")
    rules: str = Field(
        default="",
        description="Rules as JSON (context tiers, windows, service tiers; integers in nano-units), instead of the rates.",
    )
    effective_from: str = Field(
        default="", description="When it starts, ISO 8601 (2026-12-01T00:00:00Z); empty means in a second."
    )
    book: str = Field(
        default=DEFAULT_BOOK, max_length=60, description="The price book; `default` is the one that bills."
    )
    memo: str = Field(default="", max_length=500, description="Why, for the history.")


class ImportArgs(Model):
    source: str = Field(default=genai_list.SOURCE, description="The list to import: `genai-prices`.")
    provider: str = Field(default="", description="Only this provider of the list, such as `openai`.")
    model: str = Field(default="", description="Only this model of the list.")
    book: str = Field(default=DEFAULT_BOOK, max_length=60, description="The price book to write to.")


class ImportResult(Model):
    """What an import did; every skipped SKU has its reason."""

    source: str
    book: str
    imported: int = Field(description="Price versions added.")
    unchanged: int = Field(description="SKUs whose price in force already says the same.")
    skipped: int
    reasons: dict[str, int] = Field(description="Why SKUs were skipped, and how many.")
    left_out: dict[str, int] = Field(
        description="Fees metered apart from tokens that the list has and we do not bill."
    )


@command(
    "price.list",
    effect="read",
    resource="",
    permission="read",
    summary="List the prices in force.",
    columns=("sku", "input", "cache_read", "output", "currency", "effective_from", "details"),
    examples=[Example("hub price list --match qwen", "Prices of every model with qwen in its name")],
)
def price_list(ctx: Context, args: ListArgs) -> PriceList:
    """The version of each SKU that is in force now, by name, in pages."""
    rows = [
        version
        for version in store.list_versions(ctx.hub, book=args.book)
        if _in_force(version.price, ctx.now_ms)
        and args.match in version.price.sku
        and version.price.sku > (args.after or "")
    ]
    shown = page(rows, limit=args.limit, key=lambda row: row.price.sku)
    return PriceList(items=[view(row, ctx.now_ms) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "price.show",
    effect="read",
    resource="sku",
    permission="read",
    summary="Show the price of a model.",
    positional=("sku",),
    examples=[Example("hub price show openai/gpt-4.1", "Its rates, tiers and windows")],
)
def price_show(ctx: Context, args: SkuArgs) -> PriceView:
    """The version in force now, or the first that is announced."""
    versions = store.history(ctx.hub, args.sku, book=args.book)
    if not versions:
        raise NotFound(
            f"Book {args.book!r} has no price for {args.sku!r}; set one with `hub price set {args.sku}`.",
            param="sku",
        )
    current = [version for version in versions if _in_force(version.price, ctx.now_ms)]
    return view((current or versions)[0], ctx.now_ms)


@command(
    "price.history",
    effect="read",
    resource="sku",
    permission="read",
    summary="List every price a model had and will have.",
    positional=("sku",),
    columns=("version", "input", "output", "effective_from", "effective_to", "source", "memo"),
    examples=[Example("hub price history openai/gpt-4.1", "All its versions, oldest first")],
)
def price_history(ctx: Context, args: SkuArgs) -> PriceList:
    """Versions are never changed: a new one closes the one before it."""
    return PriceList(
        items=[view(one, ctx.now_ms) for one in store.history(ctx.hub, args.sku, book=args.book)]
    )


@command(
    "price.set",
    effect="irreversible",
    resource="sku",
    sinks=("sku",),
    permission="admin",
    summary="Set a new price of a model, from now or from a date on.",
    positional=("sku",),
    examples=[
        Example(
            "hub price set my-model --input 0.25 --output 1", "A quarter in, one out, per million tokens"
        ),
        Example(
            "hub price set my-model --input 0.20 --output 0.80 --effective-from 2027-01-01T00:00:00Z",
            "A lower price from New Year on",
        ),
    ],
)
def price_set(ctx: Context, args: SetArgs) -> PriceView:
    """Adds a version; what was booked before stays as it was booked."""
    rules = parse_rules(args.rules) if args.rules else Rules(base=RateCard(rates=_rates(args)))
    if args.rules and any(getattr(args, name) is not None for name in (*RATE_FIELDS, "per_request")):
        raise InvalidRequest("Give either the rates or --rules, not both.", param="rules")
    version = store.add_version(
        ctx.hub,
        sku=args.sku,
        rules=rules,
        currency=ctx.settings.currency,
        effective_from_ms=_start_ms(args.effective_from, ctx.now_ms),
        now_ms=ctx.now_ms,
        book=args.book,
        memo=args.memo,
    )
    return view(version, ctx.now_ms)


@command(
    "price.import",
    effect="irreversible",
    resource="",
    permission="admin",
    summary="Import a public price list that the installation carries.",
    examples=[Example("hub price import --provider anthropic", "Every price of one provider")],
)
def price_import(ctx: Context, args: ImportArgs) -> ImportResult:
    """SKUs are named provider/model. What cannot be said exactly is skipped and counted by reason.

    The billing book takes what is in force from now on and what is announced; any other book takes the
    whole history of the list, so that past usage can be simulated under it.
    """
    if args.source != genai_list.SOURCE:
        raise InvalidRequest(
            f"Unknown price list {args.source!r}; there is {genai_list.SOURCE!r}.", param="source"
        )
    if ctx.settings.currency != genai_list.CURRENCY:
        raise InvalidRequest(
            f"The list is in {genai_list.CURRENCY}, the books are in {ctx.settings.currency}."
        )
    if args.provider and args.provider not in genai_list.provider_ids():
        raise NotFound(
            f"The list has no provider {args.provider!r}; it has {', '.join(genai_list.provider_ids())}.",
            param="provider",
        )
    listed = genai_list.read_list(provider=args.provider, model=args.model)
    imported = unchanged = 0
    known = _last_rules(ctx, args.book)
    for price in listed.prices:
        added = _import_one(ctx, price, listed.source, book=args.book, last=known.get(price.sku))
        imported += added
        unchanged += not added
    return ImportResult(
        source=listed.source,
        book=args.book,
        imported=imported,
        unchanged=unchanged,
        skipped=len(listed.skipped),
        reasons=_tally(listed.skipped.values()),
        left_out=_tally([fee for price in listed.prices for fee in price.left_out]),
    )


@resolver("sku")
def _sku(_connection: Connection, _principal: Principal, named: str) -> Found:
    """A SKU has no id but its name, and may get its first price."""
    return Found(named)


def view(version: Version, now_ms: int) -> PriceView:
    """A version as people read it."""
    price, rates = version.price, version.price.rules.base.rates
    return PriceView(
        version=price.version_id,
        sku=price.sku,
        book=price.book,
        currency=price.currency,
        input=_decimal(rates.input),
        cache_read=_decimal(rates.cache_read),
        output=_decimal(rates.output),
        effective_from=iso(price.effective_from_ms),
        effective_to=None if price.effective_to_ms == NO_END_MS else iso(price.effective_to_ms),
        in_force=_in_force(price, now_ms),
        details=_details(price.rules),
        rules=canonical(price.rules),
        sha256=version.sha256,
        source=version.source,
        memo=version.memo,
    )


def iso(at_ms: int) -> str:
    """An instant as ISO 8601, UTC, with milliseconds where it has any."""
    stamp = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    return stamp.isoformat(timespec="milliseconds" if at_ms % 1000 else "seconds").replace("+00:00", "Z")


def parse_instant_ms(text: str, *, param: str) -> int:
    """ISO 8601 -> milliseconds; a time without a zone is UTC.

    Raises: InvalidRequest.
    """
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is not a time such as 2026-12-01T00:00:00Z.", param=param) from error
    since = (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def _start_ms(text: str, now_ms: int) -> int:
    return parse_instant_ms(text, param="effective_from") if text else now_ms + LEAD_MS


def _rates(args: SetArgs) -> Rates:
    stated: dict[str, int | None] = {name: _nano(getattr(args, name), name) for name in RATE_FIELDS}
    per_call = _nano(args.per_request, "per_request")
    if per_call is not None and per_call > MONEY_MAX_NANO // PER:
        raise InvalidPrice("per_request: it is more money than the books can hold", param="per_request")
    stated["request"] = None if per_call is None else per_call * PER
    if all(value is None for value in stated.values()):
        raise InvalidRequest(
            "A price needs at least one rate, such as --input 0.25 --output 1.", param="input"
        )
    return Rates(**stated)


def _nano(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        return parse_nano(text)
    except ValueError as error:
        raise InvalidPrice(f"{name}: {error}", param=name) from error


def _decimal(nano: int | None) -> str | None:
    if nano is None:
        return None
    whole, rest = divmod(nano, 1_000_000_000)
    return f"{whole}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')}"


def _details(rules: Rules) -> str:
    parts: list[str] = []
    if rules.base.tiers:
        parts.append(f"{len(rules.base.tiers) + 1} context tiers ({rules.base.mode})")
    if rules.windows:
        parts.append(f"{len(rules.windows)} time windows")
    if rules.service_tiers:
        parts.append("service tiers " + ", ".join(sorted(rules.service_tiers)))
    plain = {"input", "cache_read", "output"}
    more = [
        name
        for name in Rates.__struct_fields__
        if name not in plain and getattr(rules.base.rates, name) is not None
    ]
    return "; ".join([*parts, *(["also " + ", ".join(more)] if more else [])])


def _in_force(price: Price, now_ms: int) -> bool:
    return price.effective_from_ms <= now_ms < price.effective_to_ms


def _last_rules(ctx: Context, book: str) -> dict[str, Price]:
    """SKU -> its last version, announced ones included."""
    return {one.price.sku: one.price for one in store.list_versions(ctx.hub, book=book)}


def _import_one(
    ctx: Context, listed: genai_list.ListedPrice, source: str, *, book: str, last: Price | None
) -> int:
    """Add what the list says and the book does not yet; returns how many versions."""
    versions = listed.versions
    if book == DEFAULT_BOOK:
        start = ctx.now_ms + IMPORT_LEAD_MS
        past = [rules for from_ms, rules in versions if from_ms <= start]
        versions = (*((start, rules) for rules in past[-1:]), *(one for one in versions if one[0] > start))
    if last is not None and canonical(last.rules) == canonical(versions[-1][1]):
        return 0
    added = 0
    for from_ms, rules in versions:
        if last is not None and from_ms <= last.effective_from_ms:
            continue
        store.add_version(
            ctx.hub,
            sku=listed.sku,
            rules=rules,
            currency=genai_list.CURRENCY,
            effective_from_ms=from_ms,
            now_ms=ctx.now_ms,
            book=book,
            source=source,
            memo=f"left out: {', '.join(listed.left_out)}" if listed.left_out else "",
        )
        added += 1
    return added


def _tally(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())
