"""Routes that look at a JSON body before it is parsed.

Rule: how deep a body is nested is counted before a parser recurses into it. Python's parser stops at the recursion
limit, but a library that raises the limit would let a body of brackets end the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from reference_node.serve.errors import ApiError
from reference_node.strict_json import nesting

DEPTH_MAX = 64


class CheckedRoute(APIRoute):
    """A route that refuses bodies nested too deep."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:
        """Return the framework's handler behind the check."""
        answer = super().get_route_handler()

        async def checked(request: Request) -> Response:
            if not request.headers.get("content-type", "").startswith("multipart/"):
                depth = nesting(await request.body(), DEPTH_MAX)
                if depth > DEPTH_MAX:
                    raise ApiError(
                        400, f"the body is nested deeper than {DEPTH_MAX} levels", code="invalid_value"
                    )
            return await answer(request)

        return checked
