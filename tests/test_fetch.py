"""Downloads over a local server that cuts, lies and refuses."""

import errno
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nbkit.data import fetch
from nbkit.data.fetch import Archive, DataError

CONTENT = bytes(range(256)) * 40


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; hangs up after ``cut`` bytes, once or ``always``; has ``ranges``."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.always = {"/file": CONTENT}, {}, False
        self.ranges, self.starts = True, []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path not in self.server.files:
            return self.send_error(404)
        content, start = self.server.files[self.path], 0
        if self.server.ranges and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.server.starts.append(start)
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        take = self.server.cut.get if self.server.always else self.server.cut.pop
        self.wfile.write(content[start:][: take(self.path, None)])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def archive(server):
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return Archive("file", sha256, (server.url("/absent"), server.url("/file")))


def test_a_download_falls_back_to_the_next_mirror(archive, tmp_path):
    assert fetch.download(archive, tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_download_that_breaks_off_is_resumed(server, archive, tmp_path):
    server.cut["/file"] = 1000
    assert fetch.download(archive, tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, 1000]


def test_a_server_that_always_cuts_is_told_and_what_came_is_kept(server, archive, tmp_path):
    server.cut["/file"], server.always = 1000, True
    with pytest.raises(DataError, match=r"ended after 1,000 of 10,240 bytes(.|\n)*to resume"):
        fetch.download(archive, tmp_path)
    assert (tmp_path / "file.part").read_bytes() == CONTENT[: 1000 * fetch.ATTEMPTS]
    server.cut.clear()
    assert fetch.download(archive, tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, 1000, 2000]


def test_a_download_of_an_earlier_process_is_resumed(server, archive, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:77])
    assert fetch.download(archive, tmp_path).read_bytes() == CONTENT
    assert server.starts == [77]


def test_a_whole_part_is_not_downloaded_again(archive, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    offline = Archive("file", archive.sha256, ())
    assert fetch.download(offline, tmp_path).read_bytes() == CONTENT


def test_a_foreign_part_is_started_again(archive, tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 77)
    assert fetch.download(archive, tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server, archive, tmp_path):
    server.ranges = False
    (tmp_path / "file.part").write_bytes(CONTENT[:77])
    assert fetch.download(archive, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("cut", [10, None])
def test_a_good_part_outlives_what_a_server_without_ranges_sends(server, archive, tmp_path, cut):
    (tmp_path / "file.part").write_bytes(CONTENT[:77])
    page = b"<html>log in first</html>"
    server.ranges, server.files["/file"] = False, page
    server.cut["/file"], server.always = cut, True
    with pytest.raises(DataError, match="a page of HTML" if cut is None else "ended after 10"):
        fetch.download(archive, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.part"]
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:77]


def test_a_disk_that_fills_up_ends_a_download_and_what_came_is_kept(server, archive, tmp_path):
    resource = pytest.importorskip("resource")  # of Unix alone
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(DataError, match=rf"write to {tmp_path} \(.*\); set NBKIT_DATA"):
            fetch.download(archive, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:5000]
    assert fetch.download(archive, tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, 5000]


def test_a_file_that_is_there_needs_no_server(archive, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    offline = Archive("file", archive.sha256, ())
    assert fetch.download(offline, tmp_path) == tmp_path / "file"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(CONTENT[:-1], "another file"), (b"\n<!DOCTYPE html><html>", "a page of HTML")],
)
def test_a_wrong_file_is_refused_with_the_way_out(server, archive, tmp_path, sent, reason):
    server.files["/file"] = sent
    with pytest.raises(DataError, match=reason) as caught:
        fetch.download(archive, tmp_path)
    assert not (tmp_path / "file").exists()
    for needed in (f"put the file at {tmp_path / 'file'} by hand", archive.sha256, "digits", "404"):
        assert needed in str(caught.value)


def test_a_wrong_file_put_there_by_hand_is_refused(archive, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match="delete it"):
        fetch.download(archive, tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named(archive, tmp_path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(DataError, match=r"plain.*NBKIT_DATA"):
        fetch.download(archive, tmp_path / "plain")


def test_a_member_outside_the_folder_is_refused(tmp_path):
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        member = tarfile.TarInfo("../outside")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(DataError, match="outside"):
        fetch.unpack(tmp_path / "bad.tar", tmp_path / "inner")
    assert not (tmp_path / "outside").exists()


def test_an_archive_that_ends_early_is_refused(tmp_path):
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("big")
        member.size = len(CONTENT)
        tar.addfile(member, io.BytesIO(CONTENT))
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "short.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch.unpack(tmp_path / "short.tar.gz", tmp_path / "inner")


def test_a_full_disk_while_unpacking_is_told_with_the_way_out(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "whole.tar", "w"):
        pass

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(DataError, match=r"inner \(No space left on device\); set NBKIT_DATA"):
        fetch.unpack(tmp_path / "whole.tar", tmp_path / "inner")


def test_only_one_at_a_time_makes_a_folder(tmp_path):
    inside, most = [], []

    def make(name):
        with fetch.alone(tmp_path / "set"):
            inside.append(name)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(4)))
    assert most == [1, 1, 1, 1]


def test_an_interrupted_replacement_leaves_no_trace(tmp_path):
    def interrupted():
        with fetch.replacing(tmp_path / "set") as partial:
            (partial / "half").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_replacement_left_goes_with_the_next(tmp_path):
    killed = (
        "import os, pathlib; from nbkit.data import fetch\n"
        f"with fetch.replacing(pathlib.Path({str(tmp_path / 'set')!r})) as partial:\n"
        "    (partial / 'half').write_text('')\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -9
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    with fetch.replacing(tmp_path / "set") as partial:
        (partial / "whole").write_text("")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["set", "set/whole"]
