"""data/render_corpus.py: what it composes, by its scores, and what it renders, by pYIN."""

import os
import subprocess
import sys

import librosa
import numpy as np
import pytest
import soundfile
from conftest import need

from helpers.config import DATA, FRAME_RATE, SAMPLE_RATE

SCRIPT = DATA / "render_corpus.py"
SHIPPED = DATA / "instruments"
NAMES = "alto_saxophone cello clarinet flute french_horn marimba oboe trumpet violin voice_oohs"
NAMES = NAMES.split()
DYNAMICS_DB = {-24, -18, -13, -8, -4, 0}


@pytest.fixture(scope="module")
def scripts():
    """The modules of both scripts, `render` and `render_corpus`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(DATA))
        yield pytest.importorskip("render"), pytest.importorskip("render_corpus")


def run(*arguments, path=None):
    environment = dict(os.environ, PATH=str(path)) if path else None
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def render(*arguments):
    """Runs the script where there is what it needs."""
    result = run(*arguments)
    for missing in ("no `fluidsynth` command", "no sound bank"):
        need(missing not in result.stderr, f"there is {missing}")
    assert result.returncode == 0, result.stderr


def read_f0(path):
    table = np.genfromtxt(path.with_suffix(".f0.csv"), delimiter=",", names=True)
    return table["times_s"], table["f0_hz"]


def share_in_tune(path, seconds=2):
    """Share of pYIN's frames that are within 50 cents of the true f0, and how many it has."""
    audio, _ = librosa.load(path, sr=SAMPLE_RATE, duration=seconds)
    true_f0_hz = read_f0(path)[1][: seconds * FRAME_RATE]
    sounding = true_f0_hz > 0
    tracked_f0_hz, _, _ = librosa.pyin(
        audio,
        sr=SAMPLE_RATE,
        fmin=0.6 * true_f0_hz[sounding].min(),
        fmax=1.7 * true_f0_hz.max(),  # both let it be an octave off
        frame_length=1024,
        hop_length=SAMPLE_RATE // FRAME_RATE,
        max_transition_rate=200,
        resolution=0.25,  # semitones: a tenth of the time that the default of 0.1 takes
    )
    tracked_f0_hz = tracked_f0_hz[: len(true_f0_hz)]
    both = sounding & (tracked_f0_hz > 0)
    cents = 1200 * np.abs(np.log2(tracked_f0_hz[both] / true_f0_hz[both]))
    return np.mean(cents < 50), both.sum() / sounding.sum()


def pitches_of(clip, read_score):
    notes, _, _ = read_score(clip)
    return [pitch for note in notes for pitch in note.pitches]


def seconds_by_pitch(clips, read_score):
    seconds = np.zeros(128)
    for clip in clips:
        for note in read_score(clip)[0]:
            np.add.at(seconds, list(note.pitches), np.diff(note.edges_s))
    return seconds


@pytest.mark.parametrize(
    "name, low, high",
    [("trumpet", 54, 84), ("cello", 36, 72), ("clarinet", 50, 88), ("voice", 48, 79)],
)
def test_a_soloist_practises_all_that_it_plays(scripts, name, low, high):
    render, corpus = scripts
    clips = [clip for clip in corpus.corpus() if clip.name.startswith(f"{name}/")]
    lengths_s = [render.read_score(clip)[2] for clip in clips]
    assert max(lengths_s) < 60 and 220 < sum(lengths_s) < 300
    seconds = seconds_by_pitch(clips, render.read_score)
    assert np.flatnonzero(seconds).tolist() == list(range(low, high + 1))
    assert seconds[low : high + 1].min() > 0.9
    for clip in clips:
        assert {level for _, level in render.read_score(clip)[1]} == DYNAMICS_DB
    notes = [note for clip in clips for note in render.read_score(clip)[0]]
    assert any(len(set(note.pitches)) > 2 for note in notes)  # slurs
    lengths_s = [note.edges_s[-1] - note.edges_s[0] for note in notes]
    assert min(lengths_s) < 0.15 and max(lengths_s) > 1.8


def test_instruments_are_many_and_their_practice_is_varied(scripts):
    render, corpus = scripts
    clips = [clip for clip in corpus.corpus() if clip.name.startswith("instruments/")]
    assert len({clip.instrument.program for clip in clips}) == len(clips) == 20
    lengths_s = [render.read_score(clip)[2] for clip in clips]
    assert min(lengths_s) > 20 and max(lengths_s) < 30 and 430 < sum(lengths_s) < 530
    for clip in clips:
        assert np.count_nonzero(seconds_by_pitch([clip], render.read_score)) >= 15, clip.name
        assert {level for _, level in render.read_score(clip)[1]} == DYNAMICS_DB, clip.name


def test_what_is_struck_is_not_slurred(scripts):
    render, corpus = scripts
    clips = {clip.name: clip for clip in corpus.corpus()}
    for name in ("marimba", "harp"):
        notes, _, _ = render.read_score(clips[f"instruments/{name}"])
        assert {len(note.pitches) for note in notes} == {1}


def test_heldout_phrases_are_not_in_the_corpus(scripts):
    render, corpus = scripts
    practised = {}
    for clip in corpus.corpus():
        pitches = pitches_of(clip, render.read_score)
        practised.setdefault(clip.instrument.program, []).append(pitches)
    for clip in corpus.heldout():
        phrase = pitches_of(clip, render.read_score)
        for pitches in practised[clip.instrument.program]:
            runs = {tuple(pitches[i : i + 6]) for i in range(len(pitches))}  # five are a scale's
            assert not any(tuple(phrase[i : i + 6]) in runs for i in range(len(phrase) - 5))


def test_shipped_clips_are_few_and_small():
    shipped = sorted(SHIPPED.iterdir())
    assert [path.name for path in shipped] == sorted(
        f"{name}{ending}" for name in NAMES for ending in (".flac", ".f0.csv")
    )
    assert sum(path.stat().st_size for path in shipped) < 1.5e6


@pytest.mark.parametrize("name", NAMES)
def test_shipped_format(name):
    info = soundfile.info(SHIPPED / f"{name}.flac")
    assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
    assert (info.samplerate, info.frames) == (SAMPLE_RATE, 4 * SAMPLE_RATE)
    times_s, f0_hz = read_f0(SHIPPED / f"{name}.flac")
    assert len(times_s) in (4 * FRAME_RATE, 4 * FRAME_RATE + 1)
    np.testing.assert_allclose(times_s, np.arange(len(times_s)) / FRAME_RATE, atol=1e-9)
    assert np.mean(f0_hz > 0) > 0.6 and np.all((f0_hz == 0) | ((f0_hz > 95) & (f0_hz < 1250)))


@pytest.mark.parametrize("name", ["cello", "clarinet", "marimba", "oboe"])
def test_shipped_f0_is_what_is_heard(name):
    in_tune, tracked = share_in_tune(SHIPPED / f"{name}.flac")
    assert in_tune > 0.95 and tracked > 0.9


@pytest.mark.slow
def test_script_renders_the_corpus_alike_each_time(tmp_path):
    for folder in ("once", "again"):
        render(tmp_path / folder, "--only", "instruments/oboe")
    once, again = (tmp_path / folder / "instruments/oboe.flac" for folder in ("once", "again"))
    assert soundfile.info(once).samplerate == 44100
    assert once.read_bytes() == again.read_bytes()
    in_tune, tracked = share_in_tune(once)
    assert in_tune > 0.9 and tracked > 0.85


def test_script_makes_the_shipped_clips(tmp_path):
    render(tmp_path, "--heldout", "--only", "instruments/oboe")
    ours, _ = soundfile.read(tmp_path / "instruments/oboe.flac")
    shipped, _ = soundfile.read(SHIPPED / "oboe.flac")
    assert len(ours) == len(shipped)
    assert np.corrcoef(ours, shipped)[0, 1] > 0.99


def test_unknown_clip_is_one_sentence(tmp_path):
    result = run(tmp_path, "--only", "instruments/kazoo")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "kazoo" in result.stderr and "oboe" in result.stderr


def test_missing_fluidsynth_is_one_sentence(tmp_path):
    result = run(tmp_path / "corpus", path=tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "apt install fluidsynth" in result.stderr
    assert not (tmp_path / "corpus").exists()
