"""The web application: a rater's page, cases, pictures and answers, all behind the secret of the rater's link.

No name and no path from the browser reaches the file system: every address is looked up among the trials of that
rater, and names of files are made from numbers.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from dqe_loss.collect.answers import BadRequestError, read_answer, read_body, read_turn
from dqe_loss.collect.headers import App, SecureHeaders
from dqe_loss.collect.links import rater_of
from dqe_loss.collect.order import Trial
from dqe_loss.collect.page import render_page
from dqe_loss.collect.pictures import PictureFolder
from dqe_loss.collect.session import BETTER, ConflictError, RaterSession
from dqe_loss.collect.study import Study
from dqe_loss.collect.volumes import kept_at, volume_bytes
from dqe_loss.tasks.scale import levels_of

_SCRIPTS = ("collect.js", "page.js", "pictures.js", "volume.js", "niivue.js")
STATIC = dict.fromkeys(_SCRIPTS, "text/javascript; charset=utf-8") | {"collect.css": "text/css; charset=utf-8"}
"""All files that anybody may ask for, and what they are."""


@dataclass(frozen=True)
class CollectApp:
    """What the application serves.

    Attributes:
        study: the study.
        sessions: rater to session.
        links: rater to secret.
        pictures: of all cases.
        volumes: folder of volumes.
    """

    study: Study
    sessions: Mapping[str, RaterSession]
    links: Mapping[str, str]
    pictures: PictureFolder
    volumes: Path

    def build(self) -> App:
        """The application, for any ASGI server."""
        folder = Path(__file__).parent / "static"
        static = {name: (folder / name).read_bytes() for name in STATIC}
        making = asyncio.Lock()  # volumes are large: one at a time
        design = self.study.design
        verdicts = BETTER if design.mode == "pairs" else levels_of(design.task.stars)

        async def page(request: Request) -> Response:
            return HTMLResponse(render_page(self.study, self._session(request)))

        async def case(request: Request) -> Response:
            session = self._session(request)
            return JSONResponse(await run_in_threadpool(self._state, session))

        async def answer(request: Request) -> Response:
            session, body = self._session(request), await read_body(request)
            name, given = read_answer(body, verdicts, design.tags)
            return await self._change(session, lambda: session.answer(name, read_turn(body), given))

        async def undo(request: Request) -> Response:
            session, body = self._session(request), await read_body(request)
            return await self._change(session, lambda: session.undo(read_turn(body)))

        async def picture(request: Request) -> Response:
            trial, number = self._place(request)
            view = request.path_params["view"]
            if view not in design.task.views:
                raise KeyError(view)
            content = await run_in_threadpool(self.pictures.image, number, view, trial.training)
            return Response(content, media_type="image/webp")

        async def volume(request: Request) -> Response:
            trial, number = self._place(request)
            shown = (self.study.training if trial.training else self.study.cases)[number]
            name = request.path_params["name"]
            # Who waits for a volume to be made must not hold a thread that answers need.
            async with contextlib.nullcontext() if kept_at(shown, name, design, self.volumes).is_file() else making:
                content = await run_in_threadpool(volume_bytes, shown, name, design, self.volumes)
            return Response(content, media_type="application/gzip")

        async def file(request: Request) -> Response:
            name = request.path_params["name"]
            return Response(static[name], media_type=STATIC[name])

        inner = Starlette(
            routes=[
                Route("/r/{secret}", page),
                Route("/r/{secret}/case", case),
                Route("/r/{secret}/answer", answer, methods=["POST"]),
                Route("/r/{secret}/undo", undo, methods=["POST"]),
                Route("/r/{secret}/picture/{trial}/{side:int}/{view}", picture),
                Route("/r/{secret}/volume/{trial}/{side:int}/{name}.nii.gz", volume),
                Route("/static/{name}", file),
            ],
            exception_handlers={
                HTTPException: _refused,
                KeyError: _answering(404, "Not Found"),  # what is not there and what is not yours look alike
                BadRequestError: _answering(400),
                Exception: _answering(500, "The server could not do this. Nothing is lost: please try again."),
            },
        )
        return SecureHeaders(inner)  # around all of it: a failure is answered outside of Starlette's own middleware

    def _session(self, request: Request) -> RaterSession:
        rater = rater_of(request.path_params["secret"], self.links)
        if rater is None:
            raise KeyError("secret")
        return self.sessions[rater]

    def _place(self, request: Request) -> tuple[Trial, int]:
        """The trial that an address names among the rater's own, and the number of the case on one side."""
        trial = self._session(request).by_name[request.path_params["trial"]]
        side = request.path_params["side"]
        if side >= len(trial.cases):
            raise KeyError("side")
        return trial, trial.cases[side]

    async def _change(self, session: RaterSession, change: Callable[[], None]) -> Response:
        """Write to the journal, and answer with what is asked next; only then can the page show it."""
        try:
            await run_in_threadpool(change)
        except ConflictError as error:
            return JSONResponse({"problem": str(error)}, 409)
        except OSError:
            problem = "The server could not save this (its disk may be full). Nothing is lost: please try again."
            return JSONResponse({"problem": problem}, 507)
        return JSONResponse(await run_in_threadpool(self._state, session))

    def _state(self, session: RaterSession) -> dict[str, Any]:
        """What the page shows now, and what it may fetch ahead."""
        asked = session.open_trials()
        state: dict[str, Any] = {"turn": session.turn, "progress": session.progress(), "case": None, "ahead": None}
        if asked:
            trial = asked[0]
            sides = [self.pictures.planes(number, trial.training) for number in trial.cases]
            state["case"] = {"id": session.name_of(trial), "training": trial.training, "sides": sides}
            state["case"] |= session.remarks_on(trial)
        if len(asked) > 1:
            state["ahead"] = {"id": session.name_of(asked[1]), "sides": len(asked[1].cases)}
        return state


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"problem": error.detail}, error.status_code)


def _answering(status: int, problem: str = "") -> Callable[[Request, Exception], Awaitable[Response]]:
    """A handler of errors that tells a problem, or what the error says."""

    async def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"problem": problem or str(error)}, status)

    return answer
