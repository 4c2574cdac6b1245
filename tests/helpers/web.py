"""A server of pages within a test's process, and a client that behaves as a browser does."""

from __future__ import annotations

import http.client
import re
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.types import ASGIApp

from bfedrec.connections import listen, server

PATIENCE = 60.0


@contextmanager
def serving(make: ASGIApp, port: int = 0) -> Iterator[int]:
    """An application on a port of loopback, which is the context's value."""
    listening = listen(port)
    serves = server(make)
    thread = threading.Thread(target=serves.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        serves.should_exit = True
        thread.join()
        listening.close()


@dataclass
class Answer:
    """A response, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def where(self) -> str:
        """The page that it leads to."""
        return self.headers.get("Location", "")


@dataclass
class Client:
    """One browser: it keeps cookies, follows no redirection, and finds tokens in forms."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    token: str = ""

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()), **(headers or {})}
        try:
            connection.request(method, path, body or None, {k: v for k, v in sent.items() if v})
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            if "max-age=0" in line.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value.strip('"')
        found = re.search(rb'name="token" value="([0-9a-f]+)"', answer.body)
        if found:
            self.token = found[1].decode()
        return answer

    def get(self, path: str) -> Answer:
        """The answer to a GET."""
        return self.ask("GET", path)

    def post(self, path: str, /, **fields: str) -> Answer:
        """The answer to a form with the token of the latest page."""
        body = urllib.parse.urlencode({"token": self.token, **fields}).encode()
        return self.ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def upload(self, path: str, content: bytes, name: str = "events.csv") -> Answer:
        """The answer to a form with a file."""
        edge = "----edge"
        head = f'--{edge}\r\nContent-Disposition: form-data; name="token"\r\n\r\n{self.token}\r\n'
        head += f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="'
        body = head.encode() + name.encode() + b'"\r\nContent-Type: text/csv\r\n\r\n'
        body += content + f"\r\n--{edge}--\r\n".encode()
        return self.ask(
            "POST", path, body, {"Content-Type": f"multipart/form-data; boundary={edge}"}
        )

    def log_in(self, merchant: str, password: str) -> Answer:
        """The answer to a log-in from its page."""
        self.get("/login")
        return self.post("/login", merchant=merchant, password=password)
