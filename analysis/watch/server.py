"""The look as a page of this machine: on the loopback interface, for whoever knows its address."""

from __future__ import annotations

import secrets
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from analysis.watch.snapshot import Watcher
from analysis.watch.view import html

__all__ = ["Page"]

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px system-ui;margin:2em}}td,th{{padding:.2em .8em;text-align:left}}progress{{width:100%}}</style>
</head><body><div id="look">{look}</div><script>
setInterval(async () => {{
  const answer = await fetch("look").catch(() => null);
  if (answer && answer.ok) document.getElementById("look").innerHTML = await answer.text();
}}, 2000);
</script></body></html>"""
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
}


class Page:
    """Serves the look at a store until it is closed.

    Parameters
    ----------
    watcher : Watcher
    port : int
        0 for any that is free.

    Attributes
    ----------
    address : str
        With a token that is drawn for this page; without it every answer is *not found*.
    """

    def __init__(self, watcher: Watcher, port: int = 0) -> None:
        token = secrets.token_urlsafe(24)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                look = {f"/{token}/": False, f"/{token}/look": True}
                known = next((path for path in look if secrets.compare_digest(path.encode(), self.path.encode())), None)
                if known is None:
                    self.send_error(404)
                    return
                piece = html(watcher.look())
                text = piece if look[known] else _PAGE.format(title=escape(watcher.location), look=piece)
                self.send_response(200)
                for name, value in _HEADERS.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: object) -> None:
                """Nobody reads who asked."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/{token}/"

    def serve(self) -> None:
        """Answer until `close` is called from elsewhere."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
