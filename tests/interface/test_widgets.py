"""The small parts of the panels without a browser."""

import base64
import re

import matplotlib.pyplot as plt

from helpers.interface import widgets


def test_download_hands_over_the_file(tmp_path):
    path = tmp_path / "violin.zip"
    path.write_bytes(b"zipped")
    button = widgets.DownloadButton(path)
    button.children[0].click()
    link = button.children[1].value
    assert 'download="violin.zip"' in link
    assert base64.b64decode(re.search(r"base64,([^\"]+)", link)[1]) == b"zipped"


def test_live_figure_is_drawn_in_its_place(shown):
    live = widgets.LiveFigure(lambda height: plt.subplots(figsize=(1, height)))
    for height in (1, 2, 3):
        live(height)
    assert [figure.get_figheight() for figure in shown] == [1, 2, 3]
    assert plt.get_fignums() == []


def test_a_download_that_is_gone_is_a_sentence(tmp_path):
    button = widgets.DownloadButton(tmp_path / "violin.zip")
    button.children[0].click()
    assert "violin.zip cannot be read: there is no such file" in button.children[1].value


def test_a_name_that_is_not_utf8_can_be_shown(tmp_path):
    path = tmp_path / "caf\udce9.wav"
    path.write_bytes(b"sound")
    button = widgets.DownloadButton(path)
    button.children[0].click()
    for text in (button.children[0].description, button.children[1].value):
        text.encode("utf-8")
