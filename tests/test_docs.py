"""The pages of the project: true to the code, to each other, and to the sounds they link to."""

import json
import re
import sys
from urllib.parse import unquote

import librosa
import numpy as np
import pytest
import soundfile
from test_architecture import ROOMS
from test_data import read_f0

from helpers import config
from helpers.evaluation import results
from helpers.instruments import bundles

ROOT = config.ROOT
sys.path.insert(0, str(ROOT / "docs"))

import make_architecture

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/*.md")])
ENGLISH, SPANISH = (ROOT / name for name in ("README.md", "README.es.md"))
SOUNDS = sorted((ROOT / "docs" / "sounds").glob("*"))


def text_of(path):
    return path.read_text(encoding="utf-8")


def code_blocks(text):
    return re.findall(r"(?:^    \S.*\n)+", text, re.MULTILINE)


def links(text):
    return re.findall(r"\]\(([^)\s]+)\)", text)


def figures(text):
    return re.findall(r"\d+(?:[.,]\d+)*", text)


def headings(text):
    return re.findall(r"^(#+) (.+)$", text, re.MULTILINE)


def anchors(path):
    """The names that GitHub gives to the headings of a page."""
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for _, title in headings(text_of(path)))
    return {title.replace(" ", "-") for title in kept}


def rows(text):
    """The cells of all tables, without the lines below their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for link in links(text_of(path)):
        if not link.startswith(("http://", "https://")):
            file, _, anchor = link.partition("#")
            target = path.parent / unquote(file) if file else path
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_no_page_is_orphaned():
    """Each page, picture and sound of docs/ is shown or linked on some page."""
    linked = {
        (path.parent / link.split("#")[0]).resolve()
        for path in PAGES
        for link in links(text_of(path))
    }
    kinds = {".md", ".png", ".mp3", ".svg"}
    shown = {path for path in ROOT.glob("docs/**/*") if path.suffix in kinds}
    assert shown <= linked


def test_the_readme_is_read_to_the_end():
    for path in (ENGLISH, SPANISH):
        assert 100 <= len(text_of(path).splitlines()) <= 140


def test_the_spanish_readme_says_the_same():
    english, spanish = (text_of(path) for path in (ENGLISH, SPANISH))
    levels = [[level for level, _ in headings(text)] for text in (english, spanish)]
    assert levels[0] == levels[1]
    assert links(english.replace("README.es.md", "README.md")) == links(spanish)
    assert code_blocks(english) == code_blocks(spanish)
    assert len(rows(english)) == len(rows(spanish))
    for one, other in zip(rows(english), rows(spanish), strict=True):
        assert len(one) == len(other)
        assert figures(" ".join(one)) == figures(" ".join(other))
    sections = [re.split(r"^#+ .+$", text, flags=re.MULTILINE) for text in (english, spanish)]
    for one, other in zip(*sections, strict=True):
        assert sorted(figures(one)) == sorted(figures(other))


@pytest.mark.parametrize(
    "path", [*PAGES, *ROOT.glob("helpers/**/*.py")], ids=lambda path: path.name
)
def test_nothing_speaks_of_what_a_reader_cannot_see(path):
    assert not re.search(
        r"\b(the|this|a) brief\b|\bbrief (of|quotes)\b", text_of(path), re.IGNORECASE
    )


def test_instruments_are_as_good_as_their_cards_say():
    """The figures of both tables of instruments are those of the model cards."""
    first_table = text_of(ROOT / "docs" / "results.md").partition("\n## WaveRNN")[0]
    for page, prefix in ((text_of(ENGLISH), ""), (first_table, "checkpoints/")):
        table = {row[0].strip("`"): row for row in rows(page)}
        for path in config.CHECKPOINTS.glob("*/model_card.json"):
            if path.parent == results.AUTOENCODER:  # it plays all kinds of sounds
                continue
            card = json.loads(text_of(path))
            row = table[prefix + path.parent.name]
            measured = card["heldout"]
            loudness_db, pitch, outliers = row[-3:]
            assert float(loudness_db.split()[0]) == pytest.approx(
                measured["loudness_l1_db"], abs=0.051
            )
            assert float(pitch.split()[0]) == pytest.approx(measured["f0_l1_semitones"], abs=5.1e-4)
            assert float(outliers.split()[0]) == 100 * measured["f0_outliers"]


@pytest.mark.slow
def test_the_tables_of_results_are_those_that_are_measured():
    """As `make results` has them: each figure and the ends of its interval."""
    models = {
        "WaveRNN": bundles.load(results.WAVERNN),
        "DDSP autoencoder": bundles.load(results.AUTOENCODER),
    }
    clips = results.heldout_clips()
    resynthesis = results.resynthesis_table(models, clips)
    interpolation = results.interpolation_table(models["DDSP autoencoder"], clips)
    page = text_of(ROOT / "docs" / "results.md")
    rows_here = [row for row in rows(page) if row[1] == "here"]
    for row, (_, measured) in zip(rows_here, of_here(resynthesis), strict=True):
        assert row[0] == measured["model"]
        for cell, metric in zip(row[2:5], results.METRICS, strict=True):
            assert numbers(cell) == pytest.approx(with_interval(measured, metric), abs=0.0015)
    rows_of_kinds = rows(page.partition("## Interpolation")[2])[1:5]
    for row, (_, measured) in zip(rows_of_kinds, of_here(interpolation), strict=True):
        assert row[0].endswith(measured["interpolated"])
        for cell, metric in zip((row[2], row[4]), results.METRICS, strict=False):
            assert numbers(cell) == pytest.approx(with_interval(measured, metric), abs=0.0015)


def of_here(table):
    return table[table["by"] == "here"].iterrows()


def with_interval(row, metric):
    return [row[metric], row[f"{metric}_low"], row[f"{metric}_high"]]


def numbers(cell):
    return [float(number) for number in figures(cell)]


def test_the_picture_of_the_rooms_is_that_of_the_code():
    text = text_of(make_architecture.PAGE)
    assert make_architecture.page(text) == text, "run `make docs`"
    arrows = re.findall(r"^ +(\w+) --> (\w+)$", text, re.MULTILINE)
    assert {room for arrow in arrows for room in arrow} == set(ROOMS)
    assert all(other in ROOMS[room] for room, other in arrows)


def test_the_version_is_one():
    citation = text_of(ROOT / "CITATION.cff")
    (version,) = re.findall(r'^version: "(.+)"$', citation, re.MULTILINE)
    released = re.findall(r"^## \[(\d[\d.]*)\]", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert version == released[0] == config.VERSION
    assert f"repository-code: {config.REPOSITORY_URL}\n" in citation


def test_sounds_are_small():
    assert {path.stem for path in SOUNDS} == {"voice", "violin", "flute", "tenor_saxophone"}
    assert all(path.stat().st_size < 250_000 for path in SOUNDS)


@pytest.mark.parametrize("path", SOUNDS, ids=lambda path: path.stem)
def test_sounds_play_the_melody(path):
    """Within 50 cents of the score, octaves aside, as loud as the voice, and nowhere clipped."""
    audio, sample_rate = soundfile.read(path)
    assert np.abs(audio).max() < 0.9
    level_db = 20 * np.log10(np.sqrt(np.mean(audio**2)))
    assert -21 < level_db < -15
    seconds = 3
    f0_hz, _, _ = librosa.pyin(
        audio[: seconds * sample_rate],
        sr=sample_rate,
        fmin=150,
        fmax=1600,
        frame_length=1024,
        hop_length=sample_rate // config.FRAME_RATE,
        max_transition_rate=200,
    )
    _, true_hz = read_f0("voice/oohs_melody")
    true_hz = true_hz[: len(f0_hz)]
    with np.errstate(divide="ignore"):
        cents = 1200 * np.log2(f0_hz[true_hz > 0] / true_hz[true_hz > 0])
    assert np.isfinite(cents).mean() > 0.98
    cents = cents[np.isfinite(cents)]
    cents -= 1200 * np.round(np.median(cents) / 1200)
    assert np.mean(np.abs(cents) < 50) > 0.98
