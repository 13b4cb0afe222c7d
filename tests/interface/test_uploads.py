"""The uploader without a browser: parts arrive, and files come out."""

import gc
import weakref

import numpy as np
import pytest

from helpers.interface import uploads


@pytest.fixture
def received():
    """An uploader and the files that it has given."""
    uploader, files = uploads.Uploader("audio/*", multiple=True), []
    uploader.on_file(lambda name, content: files.append((name, content)))
    return uploader, files


def send(uploader, upload, name, content, is_last, index=0):
    message = {"id": upload, "index": index, "name": name, "is_last": is_last}
    uploader._handle_custom_msg(message, [memoryview(content)])


def test_file_is_given_when_it_is_whole(received):
    uploader, files = received
    for count, part in enumerate((b"one ", b"two ", b"three"), 1):
        assert not files
        send(uploader, "1", "song.wav", part, count == 3, count - 1)
        assert uploader.n_taken == count  # which has the page send the next part
    assert files == [("song.wav", b"one two three")]
    send(uploader, "2", "empty.wav", b"", is_last=True)
    assert files[1] == ("empty.wav", b"")


def test_uploads_from_two_views_are_kept_apart(received):
    uploader, files = received
    send(uploader, "1", "song.wav", b"la", is_last=False)
    send(uploader, "2", "song.wav", b"do re", is_last=False)
    send(uploader, "1", "song.wav", b" la", is_last=True, index=1)
    send(uploader, "2", "song.wav", b" mi", is_last=True, index=1)
    assert files == [("song.wav", b"la la"), ("song.wav", b"do re mi")]


def test_upload_after_one_that_failed(received):
    uploader, files = received

    def fail(name, content):
        raise OSError("no room")

    uploader.on_file(fail)
    for upload in ("1", "2"):
        with pytest.raises(OSError):
            uploader._on_part(
                uploader,
                {"id": upload, "index": 0, "name": "a", "is_last": True},
                [memoryview(b"la")],
            )
    assert uploader.n_taken == len(files) == 2  # nobody waits for ever


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only when it is told to."""
    now_s = [0.0]
    monkeypatch.setattr(uploads.time, "monotonic", lambda: now_s[0])
    return lambda seconds: now_s.__setitem__(0, now_s[0] + seconds)


def test_an_upload_that_was_abandoned_leaves_the_memory(clock):
    arrived = uploads.Arrived()
    part = np.zeros(10)
    held = weakref.ref(part)
    arrived.parts("abandoned").append(part)
    del part
    clock(10 * uploads.STALLED_SECONDS)
    arrived.parts("another")
    gc.collect()
    assert held() is None


def test_an_upload_that_waited_for_a_long_cell_goes_on(received, clock):
    uploader, files = received
    send(uploader, "1", "song.wav", b"la", is_last=False)
    clock(10 * uploads.STALLED_SECONDS)
    send(uploader, "1", "song.wav", b" la", is_last=True, index=1)
    assert files == [("song.wav", b"la la")]


def test_an_upload_of_which_a_part_was_given_up_is_never_given(received, clock, monkeypatch):
    uploader, files = received
    told = []
    monkeypatch.setattr(uploader, "send", told.append)
    send(uploader, "1", "song.wav", b"la", is_last=False)
    clock(10 * uploads.STALLED_SECONDS)
    send(uploader, "2", "other.wav", b"do", is_last=True)
    send(uploader, "1", "song.wav", b" la", is_last=True, index=1)
    assert files == [("other.wav", b"do")]
    assert told == [{"lost": "1"}]  # so that the page says it
