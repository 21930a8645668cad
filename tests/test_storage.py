"""Files from a real server on the loopback, however badly it behaves; and the room on the disk."""

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from loopback import closed_port, serving

from sftlab.data import download as fetching
from sftlab.data import storage
from sftlab.data.download import Damaged, download
from sftlab.data.storage import NoRoom, check_room

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
CHUNK = 1 << 16  # bytes that come at once; of a cut connection whole pieces are kept


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A patience that a test can wait for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetching, "WAITS", (0.01, 0.01, 0.01, 0.01))
    monkeypatch.setattr(fetching, "SILENCE", 0.3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights" / "x.bin"


def known(content=CONTENT, kind="sha256"):
    return f"{kind}:{hashlib.new(kind, content).hexdigest()[:8]}"


def bring(path, *shelves, content=CONTENT, hashed=True):
    """Download /x.bin, with this content unless they have another, from these servers to `path`."""
    for shelf in shelves:
        shelf.files.setdefault("/x.bin", content)
    return download([f"{shelf.url}/x.bin" for shelf in shelves], path, known(content) if hashed else "")


def stopped(path, shelf, **how):
    """Start to bring a file whose connection is cut, and be interrupted while waiting for the next attempt."""

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetching.time, "sleep", interrupt)
        bring(path, shelf, **how)


def visible(path):
    return sorted(p.name for p in path.parent.iterdir() if not p.name.startswith("."))


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_file_arrives_whole_and_is_not_asked_for_again(path, kind):
    with serving(files={"/x.bin": CONTENT}) as shelf:
        for _ in range(2):
            assert download([f"{shelf.url}/x.bin"], path, known(kind=kind)) == path
    assert path.read_bytes() == CONTENT and visible(path) == ["x.bin"] and shelf.asked_ranges() == [None]


GOES_ON = [
    ("cut", {"cut": 100_000, "cuts": 1}, True, [None, f"bytes={CHUNK}-"]),
    ("cut, of unknown length", {"cut": 100_000, "cuts": 1, "chunked": True}, True, [None, "bytes=100000-"]),
    ("silent", {"silent": 100_000}, True, [None, f"bytes={CHUNK}-"]),
    ("out of order for a moment", {"status": 503, "refusals": 2}, True, [None] * 3),
    ("the server cannot continue", {"cut": 100_000, "cuts": 1, "ranges": False}, True, [None, f"bytes={CHUNK}-"]),
    ("no known hash tells pieces of two versions apart", {"cut": 100_000, "cuts": 1}, False, [None] * 2),
]


@pytest.mark.parametrize(("trouble", "how", "hashed", "ranges"), GOES_ON, ids=[row[0] for row in GOES_ON])
def test_a_cut_connection_is_continued_where_it_stopped_and_nothing_is_glued(path, trouble, how, hashed, ranges):
    with serving(**how) as shelf:
        bring(path, shelf, hashed=hashed)
    assert path.read_bytes() == CONTENT and shelf.asked_ranges()[: len(ranges)] == ranges


def test_what_came_is_kept_for_the_next_call(path, monkeypatch):
    with serving(cut=100_000, cuts=1) as shelf:
        monkeypatch.setattr(fetching.time, "sleep", lambda _: setattr(shelf, "status", 503))  # then it is out of order
        with pytest.raises(ConnectionError, match=r"answers 503 .*; 0\.1 MB that came are kept"):
            bring(path, shelf)
        assert visible(path) == ["x.bin.part"]
        shelf.status, shelf.asked = None, []
        bring(path, shelf)
    assert shelf.asked_ranges() == [f"bytes={CHUNK}-"] and path.read_bytes() == CONTENT


def test_a_server_that_always_cuts_at_the_same_place_is_given_up(path):
    with serving(cut=100_000, ranges=False) as shelf, pytest.raises(ConnectionError, match="was cut"):
        bring(path, shelf)
    assert len(shelf.asked) == 1 + len(fetching.WAITS) + 1  # the first brings something, the others nothing new


@pytest.mark.parametrize("content", [OTHER, OTHER + b"longer", OTHER[:50_000]])
def test_a_piece_of_another_version_is_refused_by_the_hash(path, content):
    with serving(cut=100_000, honest=False, files={"/x.bin": CONTENT}) as shelf:
        stopped(path, shelf, content=content)
        shelf.cut, shelf.asked, shelf.files["/x.bin"] = None, [], content
        bring(path, shelf, content=content)
    assert path.read_bytes() == content and shelf.asked_ranges() == [f"bytes={CHUNK}-", None]


def test_all_bytes_that_came_before_a_kill_need_only_their_check_and_a_wrong_file_is_replaced(path):
    path.parent.mkdir()
    path.with_name("x.bin.part").write_bytes(CONTENT)
    path.write_bytes(b"half of it")
    with serving() as shelf:
        bring(path, shelf)
    assert shelf.asked_ranges() == [f"bytes={len(CONTENT)}-"] and visible(path) == ["x.bin"]
    assert path.read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_nothing_of_it_stays(path):
    with serving(files={"/x.bin": OTHER}) as shelf, pytest.raises(Damaged, match=r"x\.bin from .* is damaged"):
        bring(path, shelf)
    assert visible(path) == [] and len(shelf.asked) == 1


def test_a_second_address_is_asked_where_the_first_has_another_file_or_none(path):
    with serving(files={"/x.bin": OTHER}) as old, serving(status=404) as empty, serving() as good:
        bring(path, old, empty, good)
    assert path.read_bytes() == CONTENT and [len(s.asked) for s in (old, empty, good)] == [1, 1, 1]


# what a network does


@pytest.mark.parametrize(
    ("trouble", "words", "attempts"),
    [
        ({"url": closed_port()}, r"no connection to 127\.0\.0\.1:\d+ .* is there a network\?", 0),
        ({"url": "http://a-name-that-nobody-has.invalid"}, r"no connection to a-name.*is there a network\?", 0),
        ({"status": 429}, "answers 429 Too Many Requests", 5),
        ({"headers": {"Content-Type": "text/html; charset=utf-8"}}, "a web page in place of .* a login", 1),
        ({"silent": 0}, "was cut", 5),
        ({"status": 404}, "answers 404 Not Found for http", 1),
    ],
)
def test_each_trouble_of_a_network_is_a_sentence(path, monkeypatch, trouble, words, attempts):
    monkeypatch.setattr(fetching, "SILENCE", 0.05)
    with serving() as shelf:
        for name, value in trouble.items():
            setattr(shelf, name, value)
        with pytest.raises(ConnectionError, match=words) as caught:
            bring(path, shelf)
    assert len(shelf.asked) == attempts and "\n" not in str(caught.value) and "HTTPConnection" not in str(caught.value)


# a full disk


def test_a_disk_without_room_is_said_before_anything_is_brought(path, monkeypatch):
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: type("", (), {"free": 200_000}))
    with serving() as shelf, pytest.raises(NoRoom, match=r"missing of x\.bin: 300kB needed, 200kB left"):
        bring(path, shelf)
    check_room(path, 199_999, "less")


def test_a_disk_that_fills_up_meanwhile_loses_nothing(path):
    resource = pytest.importorskip("resource", reason="only on Linux and macOS can a process limit its own files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving(chunked=True) as shelf:
        resource.setrlimit(resource.RLIMIT_FSIZE, (123_456, limits[1]))  # the system refuses the write itself
        try:
            with pytest.raises(NoRoom, match=r"is full \(File too large\); what has come is kept: free some"):
                bring(path, shelf)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        bring(path, shelf)
    assert path.read_bytes() == CONTENT and shelf.asked_ranges() == [None, "bytes=123456-"]


def test_a_real_small_disk_that_fills_up_meanwhile_loses_nothing(path):
    path.parent.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", path.parent], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted only by root")
    try:
        with serving(chunked=True) as shelf:
            with pytest.raises(NoRoom, match=rf"is full \({os.strerror(errno.ENOSPC)}\)"):
                bring(path, shelf)
            kept = path.with_name("x.bin.part").stat().st_size
            assert kept > 100_000
            subprocess.run(["mount", "-o", "remount,size=1m", path.parent], check=True)
            bring(path, shelf)
        assert path.read_bytes() == CONTENT and shelf.asked_ranges() == [None, f"bytes={kept}-"]
    finally:
        subprocess.run(["umount", path.parent], check=True)


def test_a_folder_that_can_only_be_read_is_said_before_anything_is_brought(path):
    path.parent.mkdir()
    for locked in (["chmod", "555", path.parent], ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", path.parent]):
        subprocess.run(locked, check=False)
        if not os.access(path.parent, os.W_OK):  # root may write everywhere, but not onto a read-only disk
            break
    else:
        pytest.skip("this user may write everywhere and mount nothing")
    try:
        with serving() as shelf, pytest.raises(PermissionError, match=r"can only be read.* let SFTLAB_DATA"):
            bring(path, shelf)
        assert shelf.asked == []
    finally:
        subprocess.run(["umount", "--quiet", path.parent], check=False)
        path.parent.chmod(0o755)


# several processes


def test_a_killed_process_is_continued_and_two_at_once_bring_a_file_once(path):
    words = "import runpy, pathlib, sys; runpy.run_path(sys.argv[1])['download']([sys.argv[2]], pathlib.Path(sys.argv[3]), sys.argv[4])"  # noqa: E501
    with serving(files={"/x.bin": CONTENT}, pause=0.05) as shelf:
        command = [sys.executable, "-c", words, fetching.__file__, f"{shelf.url}/x.bin", path, known()]
        part, first = path.with_name("x.bin.part"), subprocess.Popen(command)
        for _ in range(1200):
            if part.exists() and part.stat().st_size >= CHUNK:
                break
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        first.wait()
        kept, shelf.asked, shelf.pause = part.stat().st_size, [], 0.02
        both = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert shelf.asked_ranges() == [f"bytes={kept}-"] and path.read_bytes() == CONTENT and visible(path) == ["x.bin"]


# the bar


def test_the_bar_shows_in_a_terminal_is_wiped_at_the_end_and_is_no_part_of_a_pipe(path, monkeypatch, capfd):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with serving() as shelf:
        bring(path, shelf)
        assert capfd.readouterr() == ("", "")
        path.unlink()
        screen = Terminal()
        monkeypatch.setattr("sys.stderr", screen)
        bring(path, shelf)
    assert "x.bin: " in screen.getvalue() and "300k" in screen.getvalue()
    assert screen.getvalue().split("\r")[-1] == "" and screen.getvalue().split("\r")[-2].strip() == ""


def test_the_bar_of_a_notebook_is_one_output_emptied_at_the_end(path, monkeypatch):
    pytest.importorskip("IPython")
    shown = []

    class Output:
        def update(self, data, raw):
            shown.append(data["text/plain"])

    monkeypatch.setattr("IPython.get_ipython", lambda: type("Shell", (), {"kernel": True})())
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Output())
    with serving() as shelf:
        bring(path, shelf)
    assert any(text.startswith("x.bin:") for text in shown) and shown[-1] == ""
