"""How much a request holds before it runs: a cheap upper bound far from a cap, exact counts near it.

Tokens never exceed UTF-8 bytes plus what the chat template adds; a JSON body is longer than its text, and its
punctuation outweighs a template's markers. Output is the client's limit, or the context. Near a cap the prompt is
counted, or bounded more closely by what its upstream told of others (`prompt_bounds.py`).
"""

from dataclasses import dataclass, replace

from tokenhub.ledger.types import Amounts, Need, Unit
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway.prompt_bounds import TEMPLATE_TOKENS
from tokenhub.maas.gateway.request import ParsedRequest
from tokenhub.pricing.price import Price
from tokenhub.pricing.rating import bound, bound_plain

IMAGE_TOKENS = 4096
"""Bound for an image given by address, whose bytes are not in the request."""
CONTEXT_UNKNOWN_TOKENS = 131_072
"""Context assumed where a provider does not tell."""
GROW_TOKENS = 256
"""Step by which a hold grows with its stream, per choice."""
GROW_NEAR_TOKENS = 32
"""Step by which it grows when others wait for the same budget."""
FIRST_LIMITED_TOKENS = 1024
"""The most answer per choice that is held at once near a cap for a client that set a limit."""
LEAST_TOKENS = 4
"""Near a cap a request starts if the prompt and this much answer per choice fit and no more can be had."""


@dataclass(slots=True)
class HoldSize:
    """Bounds of one request, in tokens, and their price."""

    price: Price
    at_ms: int
    service_tier: str
    input_tokens: int
    """Upper bound of the prompt (of all prompts of a list), or its exact count."""
    output_tokens: int
    """Upper bound of the output of all choices."""
    limited: bool
    """The client set the output limit."""
    choices: int = 1

    def need(self, output_tokens: int) -> Need:
        """What prompt and `output_tokens` may cost at most."""
        money = bound(
            self.price,
            input_tokens=self.input_tokens,
            output_tokens=output_tokens,
            at_ms=self.at_ms,
            service_tier=self.service_tier,
        )
        return Need(self.input_tokens + output_tokens, 1, money, 1)

    def wanted(self) -> Need:
        """Everything the request may use."""
        return self.need(self.output_tokens)

    def step(self, paid_tokens: int, more_tokens: int) -> Need:
        """What `more_tokens` of output beyond `paid_tokens` may cost."""
        money = self.need(paid_tokens + more_tokens).money - self.need(paid_tokens).money
        return Need(more_tokens, 0, max(money, 0), 0)

    def affordable(self, granted: Amounts) -> int:
        """The most output tokens whose need fits `granted`."""
        low, high = 0, max(0, min(self.output_tokens, granted[Unit.TOKENS] - self.input_tokens))
        while low < high:
            middle = (low + high + 1) // 2
            if self.need(middle).money <= granted[Unit.MONEY]:
                low = middle
            else:
                high = middle - 1
        return low

    def first(self) -> int:
        """Output tokens to ask for near a cap: the client's limit as far as it is small, or one step."""
        most = FIRST_LIMITED_TOKENS if self.limited else GROW_TOKENS
        return min(self.output_tokens, most * self.choices)

    def least(self) -> int:
        """Output tokens without which the request does not start."""
        return min(self.output_tokens, LEAST_TOKENS * self.choices)


def size(request: ParsedRequest, deployment: Deployment, price: Price, *, at_ms: int) -> HoldSize:
    """The cheap bound. The prompt of several choices counts once."""
    context = deployment.context_tokens or CONTEXT_UNKNOWN_TOKENS
    prompt = min(_prompt_bound(request), context * request.choices)
    if request.endpoint == "embeddings":
        output = 0
        prompt = _prompt_bound(request)
    else:
        each = context if request.max_tokens is None else min(request.max_tokens, context)
        output = each * request.choices
    return HoldSize(
        price, at_ms, service_tier(request), prompt, output, request.max_tokens is not None, request.choices
    )


def plain_need(
    limit: int, choices: int, body_bytes: int, deployment: Deployment, price: Price, *, at_ms: int
) -> Amounts:
    """What `size(...).wanted()` says of a plain request: no images, no service tier. limit: 0 is none."""
    context = deployment.context_tokens or CONTEXT_UNKNOWN_TOKENS
    prompt, output = body_bytes + TEMPLATE_TOKENS, limit
    if prompt > context * choices:
        prompt = context * choices
    if not 0 < output < context:
        output = context
    output *= choices
    money = bound_plain(price, prompt, output)
    if money is None:
        money = bound(price, input_tokens=prompt, output_tokens=output, at_ms=at_ms)
    return prompt + output, 1, money, 1


def with_exact_prompt(bounds: HoldSize, prompt_tokens: int, deployment: Deployment) -> HoldSize:
    """The same with a counted prompt; the answer then has the rest of the context."""
    context = deployment.context_tokens or CONTEXT_UNKNOWN_TOKENS
    left = max(context - prompt_tokens, 1) * bounds.choices
    return HoldSize(
        bounds.price,
        bounds.at_ms,
        bounds.service_tier,
        prompt_tokens,
        min(bounds.output_tokens, left),
        bounds.limited,
        bounds.choices,
    )


def with_prompt_bound(bounds: HoldSize, prompt_tokens: int) -> HoldSize:
    """The same with a closer bound of the prompt, if it is one."""
    return replace(bounds, input_tokens=prompt_tokens) if prompt_tokens < bounds.input_tokens else bounds


def service_tier(request: ParsedRequest) -> str:
    """The tier asked for; `default` when none."""
    if "service_tier" not in request.fields:
        return "default"
    return request.value("service_tier", str) or "default"


def _prompt_bound(request: ParsedRequest) -> int:
    """The body is longer than what it says; only an image given by address is larger than its mention."""
    return request.prompt_bytes + TEMPLATE_TOKENS + request.images * IMAGE_TOKENS
