"""An HTTP server on the loopback that hands out files, and can behave as badly as real ones do."""

import http.server
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import TCPServer


@dataclass
class Shelf:
    """What the server has and how it behaves; `asked` is what it was asked: (path, Range, If-Range).

    ranges: it continues. honest: it minds If-Range. cut: bytes after which it hangs up, for the next `cuts` answers.
    silent: bytes after which it sends no more, yet stays on the line. pause: seconds between pieces of 16 KB.
    chunked: it does not say how long a file is. headers: further ones. status: what it answers instead, for the next
    `refusals` requests.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    honest: bool = True
    etag: str | None = '"one"'
    cut: int | None = None
    cuts: int = 10**9
    silent: int | None = None
    pause: float = 0.0
    chunked: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    refusals: int = 10**9
    asked: list = field(default_factory=list)
    url: str = ""

    def asked_ranges(self):
        return [wanted for _, wanted, _ in self.asked]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shelf: Shelf

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.shelf.asked.append((self.path, self.headers["Range"], self.headers["If-Range"]))
        self.answer()

    def answer(self, head=False):
        shelf, self.close_connection = self.shelf, True
        if shelf.status and shelf.refusals > 0:
            shelf.refusals -= 1
            self.send_error(shelf.status)
            return
        content = shelf.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start, status = 0, 200
        wanted = self.headers["Range"]
        changed = shelf.honest and self.headers["If-Range"] not in (None, shelf.etag)
        if wanted and shelf.ranges and not changed:
            start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if shelf.etag:
            self.send_header("ETag", shelf.etag)
        for name, value in shelf.headers.items():
            self.send_header(name, value)
        if not shelf.chunked:
            self.send_header("Content-Length", str(len(content) - start))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if not head:
            self.send(content[start:])

    def send(self, content):
        shelf, end = self.shelf, len(content)
        if shelf.cut is not None and shelf.cuts > 0:
            shelf.cuts -= 1
            end = shelf.cut
        if shelf.silent is not None:
            end = min(end, shelf.silent)
        for at in range(0, end, 16384):
            piece = content[at : min(at + 16384, end)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if shelf.chunked else piece)
            self.wfile.flush()
            if shelf.pause:
                time.sleep(shelf.pause)
        if shelf.silent is not None:
            shelf.hold.wait(20)
        elif shelf.chunked and end >= len(content):
            self.wfile.write(b"0\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that hangs up early is no news

    def server_bind(self):
        TCPServer.server_bind(self)  # HTTPServer's own asks the name service for this machine's name
        self.server_name, self.server_port = self.server_address[:2]


@contextmanager
def serving(**how):
    """Serve on a free port and yield the Shelf; it may be changed while the server runs."""
    shelf = Shelf(**how)
    shelf.hold = threading.Event()
    with Server(("127.0.0.1", 0), type("Bound", (Handler,), {"shelf": shelf})) as server:
        shelf.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield shelf
        finally:
            shelf.hold.set()
            server.shutdown()
            thread.join()


def closed_port():
    """Return the address of a port where nobody listens."""
    with TCPServer(("127.0.0.1", 0), None) as server:
        return f"http://127.0.0.1:{server.server_address[1]}"
