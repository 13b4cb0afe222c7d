"""A folder of recordings to examples: compared with the recordings, librosa and NumPy."""

import io
import json
import shutil
import threading
import tracemalloc
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import features, harmonics, pitch
from helpers.analysis.features import Features
from helpers.training import dataset, targets

SAMPLE_RATE, FRAME_RATE, HOP_SIZE = 16000, 125, 128
LENGTHS = {"audio": 64000, "f0_hz": 501, "f0_confidence": 501, "loudness_db": 501}
SHORT_NOTE_HZ = 523.25


def play(notes_hz, note_seconds=1.0, sample_rate=SAMPLE_RATE, seed=0):
    """Harmonic notes, each with a rest after it; no two pieces of it are alike.

    The faint noise makes every stretch of samples one of its kind, so that it can be found again.
    """
    times_s = np.arange(round(note_seconds * sample_rate)) / sample_rate
    fade = np.minimum(1, 30 * np.minimum(times_s, times_s[-1] - times_s))
    parts = []
    for f0_hz in notes_hz:
        harmonics = [np.sin(2 * np.pi * k * f0_hz * times_s) / k for k in range(1, 8)]
        parts += [0.2 * fade * np.sum(harmonics, axis=0), np.zeros(len(times_s) // 4)]
    audio = np.concatenate(parts)
    return audio + np.random.default_rng(seed).normal(0, 1e-4, len(audio))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Nothing that was heard in earlier runs counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "CACHE", tmp_path_factory.mktemp("cache"))
        yield config.CACHE


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Formats, rates and lengths as people have them, and three files that are no use."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "more").mkdir()
    soundfile.write(folder / "a long.wav", play([196, 247, 294, 392] * 5), SAMPLE_RATE)
    stereo = np.stack([play([220, 330, 220], sample_rate=44100)] * 2, axis=1)
    soundfile.write(folder / "a flute.flac", stereo, 44100)
    soundfile.write(folder / "more" / "b.mp3", play([262, 349, 262], sample_rate=48000), 48000)
    soundfile.write(folder / "short.ogg", play([SHORT_NOTE_HZ], sample_rate=22050), 22050)
    (folder / "more" / "broken.wav").write_text("These are the notes that I took.\n")
    soundfile.write(folder / "more" / "a long.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE)
    soundfile.write(folder / "wind.wav", noise, SAMPLE_RATE)
    return folder


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """The least there is to learn from: two notes."""
    folder = tmp_path_factory.mktemp("notes")
    for name, f0_hz in (("a.wav", 196.0), ("b.wav", 247.0)):
        soundfile.write(folder / name, play([f0_hz]), SAMPLE_RATE)
    return folder


@pytest.fixture(scope="module")
def prepared(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "no.1" / "dataset"
    return dataset.prepare(recordings, folder), folder


@pytest.fixture(scope="module")
def examples(prepared):
    """All examples, for training or not, as dictionaries."""
    groups = (prepared[0].train, prepared[0].heldout)
    return [
        {name: values[i] for name, values in group.items()}
        for group in groups
        for i in range(len(group["audio"]))
    ]


def place(example, recording):
    """Where in a recording an example's audio is from, in samples; None if it is from elsewhere."""
    starts = np.arange(0, len(recording) - 200, HOP_SIZE)
    windows = recording[starts[:, None] + np.arange(200)]
    found = np.flatnonzero((windows == example["audio"][:200]).all(axis=1))
    return int(starts[found[0]]) if len(found) else None


def everything_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_examples_have_one_length_and_kind(prepared):
    for group in prepared[0].train, prepared[0].heldout:
        assert set(group) == set(LENGTHS)
        for name, length in LENGTHS.items():
            assert group[name].shape == (len(group["audio"]), length)
            assert group[name].dtype == np.float32 and np.isfinite(group[name]).all()
        assert np.abs(group["audio"]).max() <= 1.0
        assert (group["f0_hz"] > 0).all() and (group["loudness_db"] >= -80).all()


def test_what_is_no_use_is_named_and_the_rest_goes_on(prepared):
    passed_over = prepared[0].passed_over
    assert set(passed_over) == {"more/broken.wav", "more/a long.wav", "wind.wav"}
    assert "broken.wav is not a sound file" in passed_over["more/broken.wav"]
    assert "a long.wav is silent" in passed_over["more/a long.wav"]
    assert "wind.wav has hardly any note in it" in passed_over["wind.wav"]
    assert prepared[0].statistics["files"] == 4


def test_an_example_is_a_piece_of_its_recording(recordings, examples):
    recording, _ = sound.load(recordings / "a long.wav")
    places = [place(example, recording) for example in examples]
    assert sum(start is not None for start in places) >= 10  # 25 s, one every 2 s
    for example, start in zip(examples, places, strict=True):
        if start is not None:
            np.testing.assert_array_equal(example["audio"], recording[start : start + 64000])


def test_the_curves_are_those_of_the_audio(examples):
    """Frame by frame, at the times of the example's own notes: what is heard is what is written."""
    for example in examples:
        power = librosa.feature.rms(y=example["audio"], frame_length=512, hop_length=HOP_SIZE)[0]
        sounds = power > 0.02
        inside = np.convolve(sounds, np.ones(21), "same") == 21  # well within a note
        assert (example["f0_confidence"][inside] > 0.5).all()
        assert (example["loudness_db"][inside] > -30).all()
        spectrum = np.abs(librosa.stft(example["audio"], n_fft=4096, hop_length=HOP_SIZE))
        loudest_hz = spectrum.argmax(axis=0) * SAMPLE_RATE / 4096
        steady = np.convolve(sounds, np.ones(41), "same") == 41  # the window lies within the note
        off = np.abs(loudest_hz[steady] - example["f0_hz"][steady])
        assert steady.any() and off.max() < 4  # Hz, a bin


def test_unvoiced_frames_are_marked(examples):
    for example in examples:
        silent = example["loudness_db"] < -70
        assert (example["f0_confidence"][silent] == 0).all()


def test_all_of_a_recording_is_used(recordings, examples):
    recording, _ = sound.load(recordings / "a long.wav")
    covered = np.zeros(len(recording), bool)
    for example in examples:
        start = place(example, recording)
        if start is not None:
            covered[start : start + 64000] = True
    assert covered[: len(recording) // HOP_SIZE * HOP_SIZE].all()


def fingerprints(group):
    """A number for every 64 samples in a row, the same only where all of them are the same."""
    kernel = np.random.default_rng(0).normal(size=(2, 64)) * [[1], [1j]]
    found = [np.convolve(audio, kernel.sum(axis=0), "valid") for audio in group["audio"]]
    found = np.round(np.concatenate(found), 12)
    return found[found != 0]  # the silence after short notes


def test_nothing_held_out_is_trained_on(prepared):
    train, heldout = (fingerprints(group) for group in (prepared[0].train, prepared[0].heldout))
    assert len(heldout) > 200_000
    assert not np.isin(heldout, train).any()


@pytest.mark.parametrize("n_segments", [2, 3, 5, 10, 11, 20, 57])
def test_a_tenth_is_held_out_and_at_least_one(n_segments, tmp_path, monkeypatch):
    """Each file is one segment, whose audio tells which file it is."""

    def extract_files(files, *_, **__):
        for i, path in enumerate(files):
            curves = [np.full(501, value, np.float32) for value in (220.0, 0.9, -20.0)]
            file = Future()
            file.set_result(
                (np.full(64000, i / 100, np.float32), Features(np.arange(501) / 125, *curves, 125))
            )
            yield path, file

    monkeypatch.setattr(features, "extract_files", extract_files)
    for i in range(n_segments):
        (tmp_path / f"{i:02}.wav").touch()
    made = dataset.prepare(tmp_path, tmp_path / "dataset")
    train, heldout = (np.round(100 * group["audio"][:, 0]) for group in (made.train, made.heldout))
    assert len(heldout) == pytest.approx(n_segments / 10, abs=0.91) and len(heldout) >= 1
    assert sorted([*train, *heldout]) == list(range(n_segments))


def test_a_short_note_has_silence_after_it(recordings, examples):
    note, _ = sound.load(recordings / "short.ogg", SAMPLE_RATE)
    whole_frames = len(note) // HOP_SIZE
    (example,) = [example for example in examples if place(example, note) == 0]
    n_samples = whole_frames * HOP_SIZE
    np.testing.assert_array_equal(example["audio"][:n_samples], note[:n_samples])
    np.testing.assert_array_equal(example["audio"][n_samples:], 0.0)
    np.testing.assert_array_equal(example["loudness_db"][whole_frames + 1 :], -80.0)
    np.testing.assert_array_equal(example["f0_confidence"][whole_frames + 1 :], 0.0)
    np.testing.assert_allclose(example["f0_hz"][whole_frames:], SHORT_NOTE_HZ, rtol=0.02)


def test_examples_that_differ_have_another_fingerprint(prepared):
    """Although their statistics are the same: two samples change places."""
    examples = prepared[0]
    audio = np.array(examples.train["audio"])
    audio[0, [1000, 1001]] = audio[0, [1001, 1000]]
    others = replace(examples, train={**examples.train, "audio": audio})
    assert examples.fingerprint == replace(examples).fingerprint != others.fingerprint
    swapped = replace(examples, train=examples.heldout, heldout=examples.train)
    assert swapped.fingerprint != examples.fingerprint
    assert examples.fingerprint.isalnum() and len(examples.fingerprint) == 16


def test_the_source_is_told_by_names_and_content(notes, tmp_path):
    copied = shutil.copytree(notes, tmp_path / "copied")
    expected = dataset.source_of(notes)
    assert dataset.source_of(copied) == expected
    assert dataset.source_of(copied, 44100, 100) != expected
    recording = copied / "a.wav"
    recording.write_bytes(recording.read_bytes()[:-1] + b"!")
    assert dataset.source_of(copied) != expected
    shutil.copy(notes / "a.wav", recording)
    assert dataset.source_of(copied) == expected
    recording.rename(copied / "c.wav")
    assert dataset.source_of(copied) != expected


def test_a_dataset_knows_its_source(prepared, recordings):
    assert prepared[0].source == dataset.source_of(recordings)


def test_statistics_are_those_of_the_training_examples(prepared):
    made, statistics = prepared[0], prepared[0].statistics
    # The frame at the end of an example is the first of what follows.
    f0_hz, confidence, loudness_db = (made.train[name][:, :-1] for name in dataset.FIELDS[1:])
    voiced = confidence > 0
    midi = librosa.hz_to_midi(f0_hz[voiced])
    assert statistics["pitch_midi"]["mean"] == pytest.approx(midi.mean(), abs=1e-3)
    assert statistics["pitch_midi"]["low"] == pytest.approx(np.percentile(midi, 1), abs=1e-3)
    assert statistics["pitch_midi"]["high"] == pytest.approx(np.percentile(midi, 99), abs=1e-3)
    sorted_db = np.sort(loudness_db[voiced])
    percentiles = statistics["loudness_db_percentiles"]
    assert len(percentiles) == 101 and percentiles == sorted(percentiles)
    assert percentiles[0] == pytest.approx(sorted_db[0], abs=1e-3)
    assert percentiles[50] == pytest.approx(np.median(sorted_db), abs=1e-3)
    assert percentiles[100] == pytest.approx(sorted_db[-1], abs=1e-3)
    assert statistics["voiced_share"] == pytest.approx(voiced.mean(), abs=1e-4)
    assert statistics["examples"] == len(made.train["audio"])
    assert (statistics["sample_rate"], statistics["frame_rate"]) == (SAMPLE_RATE, FRAME_RATE)
    assert librosa.midi_to_hz(statistics["pitch_midi"]["low"]) > 180


def test_numpy_reads_it(prepared):
    made, folder = prepared
    for name in ("train", "heldout"):
        records, group = np.load(folder / f"{name}.npy"), getattr(made, name)
        for field in dataset.FIELDS:
            assert isinstance(group[field], np.memmap)
            np.testing.assert_array_equal(records[field], group[field])


def test_what_is_prepared_can_be_used_while_it_is_replaced(notes, tmp_path):
    """As in a notebook, where a variable still holds the former dataset."""
    former = dataset.prepare(notes, tmp_path / "dataset")
    before = np.array(former.train["audio"])
    dataset.prepare(notes, tmp_path / "dataset", frame_rate=250)
    np.testing.assert_array_equal(former.train["audio"], before)
    assert dataset.load(tmp_path / "dataset").train["f0_hz"].shape == (1, 1001)


def test_a_dataset_of_an_earlier_version_is_refused_and_replaced(notes, tmp_path, refused):
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name in ("train.tfrecord", "heldout.tfrecord", "statistics.json", "passed_over.json"):
        (folder / name).write_bytes(b"{}")
    with refused("by an earlier version: prepare it again"):
        dataset.load(folder)
    dataset.prepare(notes, folder)
    assert len(dataset.load(folder).train["audio"]) == 1


def npy(array, **changes):
    """The bytes of an array, with changes in its header."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    content = file.getvalue()
    for before, after in changes.items():
        assert before.encode() in content
        content = content.replace(before.encode(), after.encode(), 1)
    return content


def damaged_arrays(content):
    middle = len(content) // 2
    records = np.load(io.BytesIO(content))
    other_rate = np.zeros(1, [("audio", "<f4", (192000,)), ("f0_hz", "<f4", (501,))])
    flipped = bytearray(content)
    flipped[middle] ^= 1
    return {
        "empty": b"",
        "a byte short": content[:-1],
        "half": content[:middle],
        "zeros": bytes(len(content)),
        "a bit flipped": bytes(flipped),
        "of other fields": npy(other_rate),
        "of other examples": npy(records[::-1]),
        "no examples": npy(records[:0]),
        "pickled": npy(np.array([{"audio": 1}], dtype=object)),
        "of two axes": npy(records[np.newaxis]),
        "a broken header": content.replace(b"descr", b"(((((", 1),
        "a negative shape": content.replace(b"'shape': (", b"'shape': (-", 1),
    }


def test_a_damaged_array_is_refused(prepared, tmp_path, refused):
    folder = Path(shutil.copytree(prepared[1], tmp_path / "dataset"))
    for damage, content in damaged_arrays((prepared[1] / "train.npy").read_bytes()).items():
        (folder / "train.npy").write_bytes(content)
        with refused("is damaged: prepare it again"):
            print(damage)
            dataset.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"fingerprint": "0" * 16},
        {"source": {"sample_rate": 16000}},
        {"source": {"recordings": "", "sample_rate": 0, "frame_rate": 0, "crepe_model": "tiny"}},
        {"source": {"recordings": "", "sample_rate": "x", "frame_rate": 1, "crepe_model": "tiny"}},
        {"source": {"recordings": "", "sample_rate": 48000, "frame_rate": 125, "crepe_model": ""}},
        {"files": None},
        {"passed_over": 7},
    ],
    ids=str,
)
def test_damaged_json_is_refused(prepared, tmp_path, refused, change):
    folder = Path(shutil.copytree(prepared[1], tmp_path / "dataset"))
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(content | change))
    with refused("is damaged: prepare it again"):
        dataset.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "\x00", '{"version": 2}', "[" * 100_000])
def test_what_is_no_json_is_refused(prepared, tmp_path, refused, text):
    folder = Path(shutil.copytree(prepared[1], tmp_path / "dataset"))
    (folder / "dataset.json").write_text(text)
    with refused("is damaged: prepare it again"):
        dataset.load(folder)


@pytest.mark.parametrize("name, value", [("audio", np.nan), ("loudness_db", np.inf), ("f0_hz", 0)])
def test_values_that_are_no_numbers_are_refused(prepared, tmp_path, refused, name, value):
    """Even where the fingerprint is that of them."""
    folder = Path(shutil.copytree(prepared[1], tmp_path / "dataset"))
    records = np.load(folder / "train.npy")
    records[name][-1, 7] = value
    np.save(folder / "train.npy", records)
    changed = replace(prepared[0], train={field: records[field] for field in dataset.FIELDS})
    content = json.loads((folder / "dataset.json").read_text())
    content["fingerprint"] = changed.fingerprint
    (folder / "dataset.json").write_text(json.dumps(content))
    with refused("is damaged: prepare it again"):
        dataset.load(folder)
    with refused(f"dataset is damaged .*{name}.*: prepare it again"):
        changed.check()


def test_the_same_folder_gives_the_same_dataset(notes, tmp_path):
    once, again = (dataset.prepare(notes, tmp_path / name) for name in ("once", "again"))
    for group in ("train", "heldout"):
        for name in LENGTHS:
            np.testing.assert_array_equal(getattr(once, group)[name], getattr(again, group)[name])
    for name in dataset.FILES:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_other_rates(notes, tmp_path):
    made = dataset.prepare(notes, tmp_path / "dataset", 48000, 100)
    assert made.train["audio"].shape == (1, 4 * 48000)
    assert made.train["f0_hz"].shape == (1, 1 + 4 * 100)
    spectrum = np.abs(np.fft.rfft(made.train["audio"][0]))
    assert spectrum.argmax() / 4 == pytest.approx(196, abs=1)
    assert (made.statistics["sample_rate"], made.statistics["frame_rate"]) == (48000, 100)


def test_a_failing_prepare_leaves_the_former_dataset(notes, tmp_path, monkeypatch):
    former = dataset.prepare(notes, tmp_path / "dataset")
    before = everything_in(tmp_path)

    def extract_files(files, *rates, extract_files=features.extract_files, **options):
        yield next(extract_files(files, *rates, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(features, "extract_files", extract_files)
    with pytest.raises(KeyboardInterrupt):
        dataset.prepare(notes, tmp_path / "dataset")
    assert dataset.load(tmp_path / "dataset").statistics == former.statistics
    assert everything_in(tmp_path) == before


def test_recordings_are_never_replaced_by_a_dataset(recordings, refused):
    before = everything_in(recordings)
    with refused("choose another folder"):
        dataset.prepare(recordings, recordings)
    assert everything_in(recordings) == before


def test_held_out_is_taken_from_what_has_a_pitch(notes, tmp_path):
    """Whatever place the wind has between the two notes, both groups have one."""
    for name in ("0.wav", "aa.wav", "z.wav"):
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE)
        soundfile.write(tmp_path / name, noise, SAMPLE_RATE)
    for path in notes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    made = dataset.prepare(tmp_path, tmp_path / "dataset")
    assert len(made.train["audio"]) == len(made.heldout["audio"]) == 1
    assert set(made.passed_over) == {"0.wav", "aa.wav", "z.wav"}


@pytest.mark.parametrize(
    "audio, sentence",
    [
        (np.zeros(2 * SAMPLE_RATE), "No file in .* can be used: take.wav is silent: check"),
        (np.zeros(10), "No file in .* can be used: take.wav holds 0.00 s of sound: choose"),
        (play([220.0]), "There is too little with a pitch .*: give at least a minute"),
    ],
    ids=["silence", "tiny", "one note"],
)
def test_too_little_is_refused(tmp_path, refused, audio, sentence):
    soundfile.write(tmp_path / "take.wav", audio, SAMPLE_RATE)
    with refused(sentence):
        dataset.prepare(tmp_path, tmp_path / "dataset")
    assert everything_in(tmp_path) == {"take.wav"}


def test_a_folder_without_recordings_is_refused(tmp_path, refused):
    with refused("holds no sound files: put recordings into it"):
        dataset.prepare(tmp_path, tmp_path / "dataset")


@pytest.mark.parametrize("sample_rate, frame_rate", [(44100, 125), (16000, 60), (44100, 150)])
def test_frames_of_a_broken_number_of_samples_are_refused(
    recordings, tmp_path, refused, sample_rate, frame_rate
):
    with refused(f"{frame_rate} frames a second do not divide (16000|{sample_rate}) Hz"):
        dataset.prepare(recordings, tmp_path / "dataset", sample_rate, frame_rate)


def test_a_folder_without_dataset_is_refused(prepared, tmp_path, refused):
    with refused("There is no dataset in .*: prepare one first"):
        dataset.load(tmp_path)
    for name in dataset.FILES[:-1]:
        shutil.copy(prepared[1] / name, tmp_path / name)
    with refused("There is no dataset in"):
        dataset.load(tmp_path)


def test_names_in_any_language_are_kept(notes, tmp_path):
    for path in notes.iterdir():
        shutil.copy(path, tmp_path)
    soundfile.write(tmp_path / "Flöte ♯1.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    made = dataset.prepare(tmp_path, tmp_path / "dataset")
    assert list(made.passed_over) == ["Flöte ♯1.wav"]


@pytest.fixture
def tracked(monkeypatch, tmp_path):
    """The seconds of what CREPE listens to, call by call, with nothing remembered so far."""
    monkeypatch.setattr(config, "CACHE", tmp_path / "cache")
    seconds = []

    def track(audio, *args, track=pitch.track, **options):
        seconds.append(len(audio) / SAMPLE_RATE)
        return track(audio, *args, **options)

    monkeypatch.setattr(pitch, "track", track)
    return seconds


def test_what_was_heard_is_not_listened_to_again(notes, tmp_path, tracked):
    once = dataset.prepare(notes, tmp_path / "once")
    assert len(tracked) == 2
    again = dataset.prepare(notes, tmp_path / "again")
    assert len(tracked) == 2
    np.testing.assert_array_equal(once.train["f0_hz"], again.train["f0_hz"])
    dataset.prepare(notes, tmp_path / "again", frame_rate=250)
    assert len(tracked) == 4


def test_a_stopped_prepare_goes_on_where_it_was(notes, tmp_path, tracked, monkeypatch):
    folder = tmp_path / "recordings"
    shutil.copytree(notes, folder)
    soundfile.write(folder / "c.wav", play([330.0]), SAMPLE_RATE)

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_examples", stop)  # when the first file is cut up
        with pytest.raises(KeyboardInterrupt):
            dataset.prepare(folder, tmp_path / "dataset", workers=1)
    assert not (tmp_path / "dataset").exists()
    dataset.prepare(folder, tmp_path / "dataset")
    assert len(tracked) <= 4  # once each, and again what was being listened to


def test_the_order_is_that_of_the_names(notes, tmp_path, tracked, monkeypatch):
    """Whichever file is done first: here the first waits for the second."""
    second_is_done = threading.Event()
    alone = dataset.prepare(notes, tmp_path / "alone", workers=1)

    def load(path, *rate, load=sound.load_to_disk):
        if path.name == "a.wav":
            assert second_is_done.wait(60)
        loaded = load(path, *rate)
        if path.name == "b.wav":
            second_is_done.set()
        return loaded

    monkeypatch.setattr(sound, "load_to_disk", load)
    together = dataset.prepare(notes, tmp_path / "together", workers=2)
    for group in ("train", "heldout"):
        for name in LENGTHS:
            np.testing.assert_array_equal(
                getattr(alone, group)[name], getattr(together, group)[name]
            )


SIZES = {"n_harmonics": 40, "n_noise_bands": 65}


@pytest.fixture(scope="module")
def with_targets(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("with targets") / "dataset"
    return dataset.prepare(recordings, folder, 16000, 100, **SIZES), folder


def test_targets_are_beside_the_features(with_targets):
    made, folder = with_targets
    assert made.source.n_harmonics == 40 and made.source.n_noise_bands == 65
    for group in made.train, made.heldout:
        assert group["harmonic_log_power"].shape == (len(group["audio"]), 401, 40)
        assert group["noise_log_density"].shape == (len(group["audio"]), 401, 65)
        assert group["bandwidth_hz"].shape == (len(group["audio"]), 401)
        assert isinstance(group["harmonic_log_power"], np.memmap)
        unsure = group["f0_confidence"] <= targets.SURE_CONFIDENCE
        assert np.isnan(group["harmonic_log_power"][unsure]).all()
        assert np.isfinite(group["harmonic_log_power"][~unsure, :4]).mean() > 0.9
    loaded = dataset.load(folder)
    assert loaded.fingerprint == made.fingerprint and loaded.source == made.source


def test_targets_are_those_of_the_examples_own_audio(with_targets):
    """Analysed alone, an example has the harmonics that it was given."""
    for group in with_targets[0].train, with_targets[0].heldout:
        for audio, f0_hz, target in zip(
            group["audio"], group["f0_hz"], group["harmonic_log_power"], strict=True
        ):
            found = harmonics.analyze(audio, f0_hz, 16000, 100, 4, np.linspace(0, 8000, 66))
            powers = np.log(found.amplitudes[20:-20] ** 2 / 2 + 1e-20)
            known = np.isfinite(target[20:-20, :4])
            np.testing.assert_allclose(powers[known], target[20:-20, :4][known], atol=0.02)


def test_without_targets_nothing_changes(with_targets, recordings, tmp_path):
    made, _ = with_targets
    without = dataset.prepare(recordings, tmp_path / "dataset", 16000, 100)
    assert set(without.train) == set(dataset.FIELDS)
    for name in dataset.FIELDS:
        np.testing.assert_array_equal(without.train[name], made.train[name])
    assert made.statistics == without.statistics | {"band_edge_hz": 8000.0}


def test_the_band_edge_is_the_highest_of_the_recordings(notes, tmp_path):
    """Of two, one at 11.025 kHz and one at 16 kHz."""
    for path, rate in zip(sorted(notes.iterdir()), (11025, 16000), strict=True):
        audio, _ = sound.load(path, rate)
        noise = np.random.default_rng(0).normal(0, 1e-3, len(audio))
        soundfile.write(tmp_path / path.name, audio + noise, rate)
    made = dataset.prepare(tmp_path, tmp_path / "dataset", 44100, 100, **SIZES)
    edges_hz = json.loads((tmp_path / "dataset" / "dataset.json").read_text())["band_edges_hz"]
    assert sorted(edges_hz) == ["a.wav", "b.wav"]
    assert list(edges_hz.values()) == pytest.approx([5500, 7950], abs=150)
    assert made.statistics["band_edge_hz"] == edges_hz["b.wav"]


def test_silence_after_a_short_note_has_no_targets(with_targets, recordings):
    note, _ = sound.load(recordings / "short.ogg", SAMPLE_RATE)
    end = len(note) // 160 + 2
    groups = (with_targets[0].train, with_targets[0].heldout)
    (found,) = [g for g in groups if (g["f0_confidence"][:, end:] == 0).all(axis=1).any()]
    (i,) = np.flatnonzero((found["f0_confidence"][:, end:] == 0).all(axis=1))
    for name in ("harmonic_log_power", "noise_log_density"):
        assert np.isnan(found[name][i, end:]).all() and np.isfinite(found[name][i]).any()
    assert (found["bandwidth_hz"][i] > 0).all()


@pytest.mark.parametrize("name, value", [("noise_log_density", -np.inf), ("bandwidth_hz", np.nan)])
def test_targets_that_are_no_numbers_are_refused(with_targets, refused, name, value):
    made = with_targets[0]
    values = np.array(made.train[name])
    values[-1, 7] = value
    with refused(f"dataset is damaged .*{name}.*: prepare it again"):
        replace(made, train={**made.train, name: values}).check()
    made.check()


def test_other_targets_have_another_fingerprint(with_targets):
    made = with_targets[0]
    values = np.array(made.heldout["harmonic_log_power"])
    values[0, 100, 0] = -7
    others = replace(made, heldout={**made.heldout, "harmonic_log_power": values})
    assert made.fingerprint == replace(made).fingerprint != others.fingerprint


def test_the_sizes_of_the_targets_belong_to_the_source(notes):
    without = dataset.source_of(notes)
    assert dataset.source_of(notes, **SIZES) != without
    assert dataset.source_of(notes, n_harmonics=40, n_noise_bands=64) != dataset.source_of(
        notes, **SIZES
    )


def test_a_dataset_from_before_there_were_targets_is_read(prepared, tmp_path):
    folder = Path(shutil.copytree(prepared[1], tmp_path / "dataset"))
    content = json.loads((folder / "dataset.json").read_text())
    for name in SIZES:
        del content["source"][name]
    (folder / "dataset.json").write_text(json.dumps(content))
    loaded = dataset.load(folder)
    assert loaded.source == prepared[0].source and loaded.statistics == prepared[0].statistics


def test_targets_of_a_stopped_prepare_are_kept(notes, tmp_path, tracked, monkeypatch):
    """With a file added, only that one is analysed, and the dataset is as if made at once."""
    folder = tmp_path / "recordings"
    shutil.copytree(notes, folder)
    lengths = []

    def analyze_blocks(audio, *args, analyze_blocks=harmonics.analyze_blocks, **options):
        lengths.append(len(audio))
        return analyze_blocks(audio, *args, **options)

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_examples", stop)  # when the first file was analysed
        with pytest.raises(KeyboardInterrupt):
            dataset.prepare(folder, tmp_path / "dataset", 16000, 100, **SIZES)
    monkeypatch.setattr(harmonics, "analyze_blocks", analyze_blocks)
    dataset.prepare(folder, tmp_path / "dataset", 16000, 100, **SIZES)
    assert len(lengths) == 1
    soundfile.write(folder / "c.wav", play([330.0]), SAMPLE_RATE)
    dataset.prepare(folder, tmp_path / "dataset", 16000, 100, **SIZES)
    assert len(lengths) == 2
    monkeypatch.setattr(config, "CACHE", tmp_path / "another cache")
    dataset.prepare(folder, tmp_path / "at once", 16000, 100, **SIZES)
    assert len(lengths) == 5
    for name in dataset.FILES:
        once, again = (tmp_path / part / name for part in ("at once", "dataset"))
        assert once.read_bytes() == again.read_bytes()


def test_mean_targets_are_those_of_what_is_known_less_the_loudness():
    values = np.full((2, 3, 5), np.nan, np.float16)
    values[0, :2, 1], values[1, 0, 1], values[1, 2, 3] = [-4.0, -16.0], -8.0, -10.0
    loudness_db = np.zeros((2, 3), np.float32)
    loudness_db[0, 1] = -100.0 / np.log(10.0)  # 10 nepers of power below 0 dB
    group = {
        "harmonic_log_power": values,
        "noise_log_density": values[:, :, :2] - 1,
        "loudness_db": loudness_db,
    }
    harmonic_log_power, noise_log_density = dataset.mean_targets(group)
    np.testing.assert_allclose(harmonic_log_power, [-6, -6, -8, -10, -10])
    np.testing.assert_allclose(noise_log_density, [-7, -7])


def test_targets_of_which_nothing_is_known_have_no_mean(refused):
    values = np.full((2, 3, 5), np.nan, np.float16)
    group = {"harmonic_log_power": values, "noise_log_density": values}
    with refused("no pitch is sure enough to learn from: give clean recordings"):
        dataset.mean_targets({**group, "loudness_db": np.zeros((2, 3))})
    known = {**group, "harmonic_log_power": np.zeros((2, 3, 5)), "loudness_db": np.zeros((2, 3))}
    _, noise_log_density = dataset.mean_targets(known)  # of a synthesizer without any noise
    assert (noise_log_density < -30).all()


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [{}, SIZES], ids=["features", "targets"])
def test_memory_does_not_grow_with_the_recordings(tmp_path, monkeypatch, sizes):
    """One file of two minutes against three, one of them of twenty minutes."""

    def track(audio, sample_rate, frame_rate, **options):
        n_frames = 1 + len(audio) * frame_rate // sample_rate
        return np.full(n_frames, 220, np.float32), np.full(n_frames, 0.9, np.float32)

    monkeypatch.setattr(pitch, "track", track)
    peaks_mb = []
    for name, minutes in (("short", [2]), ("long", [1, 20, 1])):
        (tmp_path / name).mkdir()
        for i, n_minutes in enumerate(minutes):
            noise = np.random.default_rng(i).normal(0, 0.1, n_minutes * 60 * SAMPLE_RATE)
            soundfile.write(tmp_path / name / f"{i}.wav", noise, SAMPLE_RATE)
        monkeypatch.setattr(config, "CACHE", tmp_path / f"{name} cache")
        tracemalloc.start()
        dataset.prepare(tmp_path / name, tmp_path / f"{name} dataset", frame_rate=100, **sizes)
        peaks_mb.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    audio_mb = 20 * 60 * SAMPLE_RATE * 4 / 2**20
    assert peaks_mb[1] - peaks_mb[0] < 0.25 * audio_mb, peaks_mb
