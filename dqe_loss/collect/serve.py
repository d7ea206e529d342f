"""Serve a study until it is stopped: sessions, pictures, links, and a table that is never far behind the journals."""

import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from dqe_loss.collect.active import Reorder
from dqe_loss.collect.app import CollectApp
from dqe_loss.collect.journal import RaterJournal
from dqe_loss.collect.links import claim_links
from dqe_loss.collect.order import trials_of
from dqe_loss.collect.pictures import PICTURES, PictureFolder
from dqe_loss.collect.session import RaterSession
from dqe_loss.collect.study import Study
from dqe_loss.collect.table import JOURNALS, journal_path, write_answers
from dqe_loss.collect.volumes import VOLUMES

LOCAL = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
_TABLE_EVERY = 30.0  # seconds


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Attributes:
        host: interface.
        port: of TCP; 0 takes any that is free.
        certificate: PEM file, to serve HTTPS; None for HTTP.
        key: its key.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    certificate: Path | None = None
    key: Path | None = None

    def url(self, port: int) -> str:
        """The beginning of every link."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.host in EVERYWHERE:
            host = machine_name()
        return f"http{'s' if self.certificate else ''}://{host}:{port}"


def machine_name() -> str:
    """What others in the network may call this machine: its name, or where it has none its address to the outside."""
    for name in (socket.getfqdn(), socket.gethostname()):
        if name and not name.startswith(("localhost", "ip6-")):
            return name
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
            outside.connect(("192.0.2.1", 9))  # an address of no machine: nothing is sent, but a way is chosen
            return str(outside.getsockname()[0])
    except OSError:
        return "localhost"


@contextmanager
def opened(study: Study, folder: Path, reorder: Reorder | None = None) -> Iterator[CollectApp]:
    """Everything that the application serves, with the journals held.

    Args:
        study: the study; its pictures must be drawn.
        folder: of the study.
        reorder: another order than the random one.

    Raises:
        ValueError: another process serves the study, or a file of it is damaged.
        OSError: a file cannot be written.
    """
    (folder / JOURNALS).mkdir(exist_ok=True)
    links = claim_links(folder, study.raters)
    with ExitStack() as stack:
        sessions = {}
        for rater, secret in links.items():
            journal = RaterJournal(journal_path(folder, rater))
            stack.callback(journal.close)
            trials = trials_of(study, rater)
            if reorder is not None:
                trials = reorder(rater, trials)
            sessions[rater] = RaterSession(rater, secret, trials, journal)
        yield CollectApp(study, sessions, links, PictureFolder(folder / PICTURES, study), folder / VOLUMES)


def serve(study: Study, folder: Path, address: Address, reorder: Reorder | None = None) -> None:
    """Serve a study until a signal ends it; the table is written at the start, while it goes on, and at the end.

    Raises:
        ValueError: see `opened`; or the address cannot be used.
        OSError: a file cannot be written.
    """
    with opened(study, folder, reorder) as app:
        listener = _listen(address)
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            app.build(),
            access_log=False,  # addresses hold secrets
            log_level="warning",
            server_header=False,
            ssl_certfile=address.certificate,
            ssl_keyfile=address.key,
            timeout_graceful_shutdown=5,
        )
        write_answers(study, folder)
        url = address.url(port)  # once: where no server knows the machine's name, each look takes seconds
        for rater, session in app.sessions.items():
            done = session.progress()
            link = f"{url}/r/{app.links[rater]}"
            print(f"{rater} ({done['done']} of {done['total']} done): {link}", flush=True)
        if address.host in EVERYWHERE:
            name = urlsplit(url).netloc.rpartition(":")[0]
            print(
                f"If others cannot open a link, put this machine's IP address in place of {name}, and let "
                f"port {port} through its firewall."
            )
        print("Each link is a secret; Ctrl-C stops the server, and the same command goes on.", flush=True)
        server = uvicorn.Server(config)
        with _ended_by_signals(server), _keeping_table(study, folder, app), listener:
            server.run(sockets=[listener])
        path, rows = write_answers(study, folder)
        print(f"{path}: {rows} judgments", flush=True)


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the server alone: uvicorn raises them again afterwards; the table is due then."""

    def end(*_: object) -> None:
        server.should_exit = True  # also one that comes before uvicorn listens to signals

    former = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _keeping_table(study: Study, folder: Path, app: CollectApp) -> Iterator[None]:
    """Write the table now and then, where there is something new."""
    ended = threading.Event()

    def keep() -> None:
        seen = -1
        while not ended.wait(_TABLE_EVERY):
            turns = sum(session.turn for session in app.sessions.values())
            if turns == seen:
                continue
            try:
                write_answers(study, folder)
                seen = turns
            except (OSError, ValueError) as error:  # the journals are what counts; the next try may succeed
                print(f"dqe collect: warning: {error}; the answers are safe in the journals", file=sys.stderr)

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def _listen(address: Address) -> socket.socket:
    """A socket that takes connections before any link is shown.

    Raises:
        ValueError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(2048)  # whoever follows a link at once waits, and is not refused
    except OSError as error:
        listener.close()
        raise ValueError(
            f"--host {address.host} --port {address.port} cannot be used ({error.strerror}); give another"
        ) from error
    return listener
