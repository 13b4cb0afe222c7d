"""The uploader without a browser: parts arrive, and files come out."""

import pytest

from helpers.interface import uploads


@pytest.fixture
def received():
    """An uploader and the files that it has given."""
    uploader, files = uploads.Uploader("audio/*", multiple=True), []
    uploader.on_file(lambda name, content: files.append((name, content)))
    return uploader, files


def send(uploader, upload, name, content, is_last):
    message = {"id": upload, "name": name, "is_last": is_last}
    uploader._handle_custom_msg(message, [memoryview(content)])


def test_file_is_given_when_it_is_whole(received):
    uploader, files = received
    for count, part in enumerate((b"one ", b"two ", b"three"), 1):
        assert not files
        send(uploader, "1", "song.wav", part, is_last=count == 3)
        assert uploader.n_taken == count  # which has the page send the next part
    assert files == [("song.wav", b"one two three")]
    send(uploader, "2", "empty.wav", b"", is_last=True)
    assert files[1] == ("empty.wav", b"")


def test_uploads_from_two_views_are_kept_apart(received):
    uploader, files = received
    send(uploader, "1", "song.wav", b"la", is_last=False)
    send(uploader, "2", "song.wav", b"do re", is_last=False)
    send(uploader, "1", "song.wav", b" la", is_last=True)
    send(uploader, "2", "song.wav", b" mi", is_last=True)
    assert files == [("song.wav", b"la la"), ("song.wav", b"do re mi")]


def test_upload_after_one_that_failed(received):
    uploader, files = received

    def fail(name, content):
        raise OSError("no room")

    uploader.on_file(fail)
    for upload in ("1", "2"):
        with pytest.raises(OSError):
            uploader._on_part(
                uploader, {"id": upload, "name": "a", "is_last": True}, [memoryview(b"la")]
            )
    assert uploader.n_taken == len(files) == 2  # nobody waits for ever
