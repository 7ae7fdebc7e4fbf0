"""Servers of S3 on this machine, and a proxy before them that fails as networks do."""

from __future__ import annotations

import contextlib
import http.client
import logging
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

BEHIND_SECONDS = 120.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def setup(self) -> None:
        self.timeout = 60
        super().setup()

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class _Careless(_Handler):
    """A server that creates what is there already, lists in pages of ten, and whose clock is two minutes behind."""

    def do_GET(self) -> None:
        bucket, key, query = self._asked()
        if not key:
            self._list(bucket, query)
            return
        found = self.server.objects.get((bucket, key))
        if found is None:
            self._error(404, "NoSuchKey")
            return
        content, when = found
        headers = {"Last_Modified": formatdate(when, usegmt=True), "ETag": f'"{hash(content)}"'}
        if span := self.headers.get("Range"):
            first, last = span.removeprefix("bytes=").split("-")
            part = content[-int(last) :] if not first else content[int(first) : int(last) + 1 if last else None]
            self.answer(206, part, **headers)
        else:
            self.answer(200, content, **headers)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        bucket, key, _ = self._asked()
        content = self.body()
        if key:
            self.server.objects[bucket, key] = content, time.time() - BEHIND_SECONDS
        self.answer(200, ETag=f'"{hash(content)}"')

    def do_DELETE(self) -> None:
        bucket, key, _ = self._asked()
        self.server.objects.pop((bucket, key), None)
        self.answer(204)

    def do_POST(self) -> None:
        bucket, _, _ = self._asked()
        for part in self.body().decode().split("<Key>")[1:]:
            self.server.objects.pop((bucket, part.partition("</Key>")[0]), None)
        self.answer(200, b"<DeleteResult/>")

    def _asked(self) -> tuple[str, str, dict[str, str]]:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = parse_qs(parts.query, keep_blank_values=True)
        return bucket, key, {name: values[0] for name, values in query.items()}

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, cut = query.get("prefix", ""), query.get("delimiter")
        found: dict[str, str] = {}
        for (where, key), (content, when) in sorted(self.server.objects.items()):
            rest = key.removeprefix(prefix)
            if where != bucket or not key.startswith(prefix):
                continue
            if cut and cut in rest:
                name = prefix + rest.partition(cut)[0] + cut
                found[name] = f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            else:
                moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(when))
                what = f"<Key>{escape(key)}</Key><LastModified>{moment}</LastModified><Size>{len(content)}</Size>"
                found[key] = f"<Contents>{what}</Contents>"
        after = unquote(query.get("continuation-token", ""))
        names = [name for name in sorted(found) if name > after]
        page, more = names[:10], len(names) > 10
        token = f"<NextContinuationToken>{quote(page[-1])}</NextContinuationToken>" if more else ""
        inside = "".join(found[name] for name in page)
        counts = f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        self.answer(200, f"<ListBucketResult><Name>{bucket}</Name>{counts}{inside}</ListBucketResult>".encode())

    def _error(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())


class _Unable(_Careless):
    """A careless server that says what it does not know."""

    def do_PUT(self) -> None:
        if self.headers.get("If-Match") or self.headers.get("If-None-Match"):
            self.body()
            self._error(501, "NotImplemented")
        else:
            super().do_PUT()


class _Proxy(_Handler):
    """Passes requests on, or fails: with an answer, without one, or after the server has done what was asked."""

    def pass_on(self) -> None:
        proxy: Network = self.server.network
        content = self.body()
        proxy.asked.append(f"{self.command} {self.path}")
        proxy.hold_up(f"{self.command} {unquote(self.path)}")
        draw = proxy.draw()
        if proxy.away or draw < proxy.failing / 3:
            self._hang_up()
            return
        if draw < 2 * proxy.failing / 3:
            self.answer(503, b"<Error><Code>ServiceUnavailable</Code><Message>busy</Message></Error>")
            return
        connection = http.client.HTTPConnection(*proxy.server, timeout=60)
        connection.request(self.command, self.path, content, dict(self.headers.items()))
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        if draw < proxy.failing or proxy.away:
            self._hang_up()
            return
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        length = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

    def _hang_up(self) -> None:
        self.close_connection = True


class Network:
    """The way to a server.

    Attributes
    ----------
    failing : float
        Share of requests that fail.
    away : bool
        Whether nothing answers.
    address : tuple of (str, int)
        Where it begins.
    asked : list of str
        What came along.
    """

    address: tuple[str, int]

    def __init__(self, server: tuple[str, int]) -> None:
        self.server, self.failing, self.away = server, 0.0, False
        self.asked: list[str] = []
        self._random, self._lock = random.Random(0), threading.Lock()
        self._held: tuple[str, Callable[[], None]] | None = None

    def hold(self, request: str, meanwhile: Callable[[], None]) -> None:
        """Hold up the next request with such a beginning until something else is done."""
        self._held = request, meanwhile

    def hold_up(self, request: str) -> None:
        """Wait with a request that is to be held up."""
        with self._lock:
            held = self._held
            if held is None or not request.startswith(held[0]):
                return
            self._held = None
        held[1]()

    def draw(self) -> float:
        """Draw a number that says how a request ends."""
        with self._lock:
            return self._random.random()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Answer nothing."""
        self.away = True
        try:
            yield
        finally:
            self.away = False


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *request: Any) -> None:
        """Print what goes wrong here, but not that a client has gone, as one does that has waited long enough."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(*request)


@contextmanager
def _serving(handler: type[_Handler], **attributes: Any) -> Iterator[tuple[str, int]]:
    server = _Server(("127.0.0.1", 0), handler)
    for name, value in attributes.items():
        setattr(server, name, value)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ("127.0.0.1", server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _moto() -> Iterator[tuple[str, int]]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        connection = http.client.HTTPConnection(*server.get_host_and_port())
        connection.request("POST", "/moto-api/reset")  # what it keeps for all its servers
        connection.getresponse()
        connection.close()
        yield server.get_host_and_port()
    finally:
        server.stop()


@pytest.fixture(params=["moto", "careless"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """An S3 server behind a proxy, and an environment in which ``s3://bucket`` is there."""
    s3fs = pytest.importorskip("s3fs")
    own = {"careless": _Careless, "unable": _Unable}
    serving = _moto() if request.param == "moto" else _serving(own[request.param], objects={})
    with serving as server:
        network = Network(server)
        with _serving(_Proxy, network=network) as (host, port):
            network.address = host, port
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
            s3fs.S3FileSystem.clear_instance_cache()
            with contextlib.suppress(FileExistsError):
                s3fs.S3FileSystem().mkdir("bucket")
            yield network
            s3fs.S3FileSystem.clear_instance_cache()
