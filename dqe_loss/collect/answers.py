"""What a browser sends, read with distrust: of all that can be in it, only what a study asks for comes through."""

import json
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from dqe_loss.collect.session import COMMENT_LIMIT, Answer

BODY_LIMIT = 16_384
"""Bytes of a request: a comment in any script, and all tags."""


class BadRequestError(ValueError):
    """A request is not as the page sends it."""


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON of a request.

    Raises:
        BadRequestError: it is too long, comes from another site, or is no JSON object.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadRequestError("expected JSON")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise BadRequestError("expected a request of this page")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > BODY_LIMIT:
            raise BadRequestError("too long")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("expected JSON") from error
    if not isinstance(body, dict):
        raise BadRequestError("expected a JSON object")
    return body


def read_turn(body: dict[str, Any]) -> int:
    """Which state of the journal the page had seen.

    Raises:
        BadRequestError: it does not say.
    """
    turn = body.get("turn")
    if type(turn) is not int:
        raise BadRequestError("expected a turn")
    return turn


def read_answer(body: dict[str, Any], verdicts: Sequence[float | str], tags: Sequence[str]) -> tuple[str, Answer]:
    """The name of the trial, and what was said of it.

    Args:
        body: of the request.
        verdicts: that the study takes: numbers, or words.
        tags: that it offers.

    Raises:
        BadRequestError: something is missing, or not as the page sends it.
    """
    name, verdict, comment, seconds = (body.get(key) for key in ("id", "verdict", "comment", "seconds"))
    given = body.get("tags")
    if not isinstance(name, str) or not isinstance(comment, str) or len(comment) > COMMENT_LIMIT:
        raise BadRequestError("expected a case, and a comment that is not too long")
    # As it stands in the study: 4.0 is 4, and true is not 1.
    meant = [one for one in verdicts if type(verdict) in (int, float, str) and verdict == one]
    if not meant:
        raise BadRequestError("expected a verdict that is asked for")
    if not isinstance(given, list) or not all(isinstance(tag, str) and tag in tags for tag in given):
        raise BadRequestError("expected tags of this study")
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds < 1e6:
        raise BadRequestError("expected seconds")
    # A lone half of a surrogate pair has no place in UTF-8, and a NUL none in a table.
    text = comment.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "").strip()
    return name, Answer(meant[0], text, tuple(dict.fromkeys(given)), float(seconds))
