"""Hooks of schemathesis: half of the generated requests name a model that exists, and ask for few tokens.

Without them nearly every request would end at an unknown model, and nothing behind it would be tested.
"""

from __future__ import annotations

from typing import Any

import schemathesis

TOKENS = 4


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Return the body with a model that the node serves, where the generated one is a usable name."""
    if not isinstance(body, dict):
        return body
    model = body.get("model")
    if isinstance(model, str) and 0 < len(model) <= 200 and sum(map(ord, model)) % 4:
        body["model"] = "base" if sum(map(ord, model)) % 4 < 3 or "adapters" in body else "probe"
    for name in ("max_tokens", "max_completion_tokens"):
        if type(body.get(name)) is int and body[name] > TOKENS:
            body[name] = TOKENS
    return body
