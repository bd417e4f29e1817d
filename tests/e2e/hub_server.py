"""A small Hub on 127.0.0.1: the routes of huggingface.co that a download needs, and faults on demand.

Two servers: the Hub itself, and a "CDN" on another port to which it redirects large (LFS) files. Both end with
the process, and by themselves after some minutes.

    hub_server.py DIRECTORY ID [--seconds N]    serves a folder as the model ID, prints the address
"""

import argparse
import hashlib
import json
import re
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LIFETIME = 600.0  # seconds, whatever the tests do
LARGE = 1_000_000  # bytes from which a file is "LFS"
CHUNK = 1 << 20
STALL = 60.0  # seconds


@dataclass
class File:
    data: bytes
    lfs: bool
    git: str = ""
    sha256: str = ""

    def __post_init__(self):
        self.sha256 = hashlib.sha256(self.data).hexdigest()
        self.git = hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()
        if self.lfs:  # what git stores is a pointer
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
            self.git = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer.encode()).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git

    def entry(self, name: str) -> dict:
        """As /tree lists it."""
        found = {"type": "file", "oid": self.git, "size": len(self.data), "path": name}
        if self.lfs:
            found["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}
        return found


@dataclass
class Fault:
    """What goes wrong with requests whose path contains `path`, the next `times` times."""

    path: str
    times: int = 1
    on: str = "hub"  # or cdn
    methods: tuple = ("GET",)
    status: int = 0  # answer this
    headers: dict = field(default_factory=dict)
    drop_after: int = -1  # close the connection after so many bytes of the body
    end_after: int = -1  # the same, without having announced a length
    stall_after: int = -1  # send nothing more, but keep the connection for some time
    damage: bool = False  # one bit of the body is wrong
    whole: bool = False  # ignore Range
    body: bytes | None = None  # with status 200
    only_ranges: bool = False  # only when the request has a Range
    location: str = ""  # redirect there


@dataclass
class Request:
    on: str
    method: str
    path: str
    headers: dict
    time: float


class HubServer:
    def __init__(self, page_size: int = 1000, token: str = "", tls: tuple | None = None):
        self.repositories: dict[str, dict[str, dict[str, File]]] = {}
        self.refs: dict[tuple[str, str], str] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.page_size = page_size
        self.token = token  # required when set
        self.tree_override: bytes | None = None
        self.lock = threading.Lock()
        self.hub = self._serve("hub", tls)
        self.cdn = self._serve("cdn", tls)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.hub.server_address[1]}"
        self.cdn_url = f"{scheme}://localhost:{self.cdn.server_address[1]}"  # another host, as far as names go
        self.timer = threading.Timer(LIFETIME, self.stop)
        self.timer.daemon = True
        self.timer.start()

    def _serve(self, on: str, tls: tuple | None) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"owner": self, "on": on}))
        server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, tls))
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self) -> None:
        self.timer.cancel()
        for server in (self.hub, self.cdn):
            server.shutdown()
            server.server_close()

    def add(self, repository: str, files: dict[str, bytes], branch: str = "main") -> str:
        """A new commit of a branch; returns it."""
        made = {name: File(data, name.endswith(".safetensors") or len(data) >= LARGE) for name, data in files.items()}
        text = json.dumps({name: file.etag for name, file in sorted(made.items())}) + repository
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.repositories.setdefault(repository, {})[commit] = made
        self.refs[repository, branch] = commit
        return commit

    def add_folder(self, repository: str, folder: Path) -> str:
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        return self.add(repository, files)

    def fault(self, path: str, **options) -> None:
        self.faults.append(Fault(path, **options))

    def take_fault(self, on: str, method: str, path: str, ranged: bool) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                fits = fault.on == on and method in fault.methods and fault.path in path
                if fits and fault.times > 0 and (ranged or not fault.only_ranges):
                    fault.times -= 1
                    return fault
        return None

    def seen(self, path: str = "", on: str = "") -> list[Request]:
        return [r for r in self.requests if path in r.path and on in ("", r.on)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: HubServer
    on: str

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.handle_request()

    def do_GET(self):
        self.handle_request()

    def handle_request(self):
        path = self.path
        if path.startswith("http"):  # a client that takes us for its proxy
            parts = urlsplit(path)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
        with self.owner.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.owner.requests.append(Request(self.on, self.command, self.path, headers, time.monotonic()))
        fault = self.owner.take_fault(self.on, self.command, path, "range" in headers)
        if fault and fault.location:
            return self.answer(302, {"Location": fault.location})
        if fault and fault.status:
            return self.answer(fault.status, fault.headers, fault.body or b"")
        if self.on == "cdn":
            return self.cdn_file(path, fault)
        if self.owner.token and headers.get("authorization") != f"Bearer {self.owner.token}":
            return self.answer(401, {"X-Error-Message": "Invalid username or password."})
        if path.startswith("/api/models/"):
            return self.api(path)
        return self.resolve(path, fault)

    def answer(self, status: int, headers: dict | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, code: str) -> None:
        self.answer(404, {"X-Error-Code": code, "X-Error-Message": f"{code}, says the test"})

    def commit(self, repository: str, revision: str) -> str | None:
        if repository not in self.owner.repositories:
            self.missing("RepoNotFound")
            return None
        if revision in self.owner.repositories[repository]:
            return revision
        found = self.owner.refs.get((repository, revision))
        if found is None:
            self.missing("RevisionNotFound")
        return found

    def api(self, path: str) -> None:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", parts.path)
        if not match:
            return self.missing("EntryNotFound")
        repository, kind, revision = match[1], match[2], unquote(match[3] or "main")
        commit = self.commit(repository, revision)
        if commit is None:
            return None
        files = self.owner.repositories[repository][commit]
        if kind != "tree":
            info = {"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
            return self.answer(200, {"Content-Type": "application/json"}, json.dumps(info).encode())
        if self.owner.tree_override is not None:
            return self.answer(200, {}, self.owner.tree_override)
        entries = [file.entry(name) for name, file in sorted(files.items())]
        entries += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "folder"}]
        begin = int(query.get("cursor", ["0"])[0])
        end = begin + self.owner.page_size
        headers = {}
        if end < len(entries):
            target = f"{self.owner.url}{parts.path}?recursive=true&expand=false&cursor={end}"
            headers["Link"] = f'<{target}>; rel="next"'
        return self.answer(200, headers, json.dumps(entries[begin:end]).encode())

    def resolve(self, path: str, fault: Fault | None) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", urlsplit(path).path)
        if not match:
            return self.missing("EntryNotFound")
        repository, name = match[1], unquote(match[3])
        commit = self.commit(repository, unquote(match[2]))
        if commit is None:
            return None
        file = self.owner.repositories[repository][commit].get(name)
        if file is None:
            return self.missing("EntryNotFound")
        headers = {"X-Repo-Commit": commit}
        if not file.lfs:
            return self.body(file, {**headers, "ETag": f'"{file.etag}"'}, fault)
        headers |= {
            "X-Linked-Etag": f'"{file.sha256}"',
            "X-Linked-Size": str(len(file.data)),
            "Location": f"{self.owner.cdn_url}/{file.sha256}?signature=1",
        }
        return self.answer(302, headers)

    def cdn_file(self, path: str, fault: Fault | None) -> None:
        sha256 = urlsplit(path).path[1:]
        for commits in self.owner.repositories.values():
            for files in commits.values():
                for file in files.values():
                    if file.lfs and file.sha256 == sha256:
                        # S3 names its own objects otherwise.
                        return self.body(file, {"ETag": '"of-the-cdn"'}, fault)
        return self.answer(404)

    def body(self, file: File, headers: dict, fault: Fault | None) -> None:
        fault = fault or Fault("")
        data = fault.body if fault.body is not None else file.data
        if fault.damage:
            data = data[:-1] + bytes([data[-1] ^ 1])
        begin, end, status = 0, len(data), 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and not fault.whole:
            begin, end, status = int(wanted[1]), min(int(wanted[2] or end - 1) + 1, end), 206
            if begin >= len(data):
                return self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
            headers = {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"}
        self.send_response(status)
        for name, value in {**headers, "Accept-Ranges": "bytes"}.items():
            self.send_header(name, value)
        cut = max(fault.drop_after, fault.end_after, fault.stall_after)
        if fault.end_after >= 0:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = end if cut < 0 else min(end, begin + cut)
        view = memoryview(data)
        try:
            for at in range(begin, stop, CHUNK):
                self.wfile.write(view[at : min(at + CHUNK, stop)])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        if cut >= 0:
            self.wfile.flush()
            if fault.stall_after >= 0:
                time.sleep(STALL)
            self.close_connection = True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("id")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with HubServer() as server:
        server.add_folder(arguments.id, arguments.directory)
        print(server.url, flush=True)
        time.sleep(min(arguments.seconds, LIFETIME))


if __name__ == "__main__":
    main()
