"""A recording that is continued stays one recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from real2sim.episodes.recording_parts import RECORD_FILE, open_recording

SEED, BROAD, CONTACT = {"seed": 1}, {"mix": "broad"}, {"mix": "contact"}


def test_who_acts_in_an_episode_that_is_there_is_remembered(tmp_path: Path) -> None:
    assert open_recording(tmp_path, SEED, BROAD, 0, 2) == [BROAD] * 2
    assert open_recording(tmp_path, SEED, CONTACT, 2, 4) == [BROAD] * 2 + [CONTACT] * 2
    assert open_recording(tmp_path, SEED, CONTACT, 4, 4) == [BROAD] * 2 + [CONTACT] * 2
    assert open_recording(tmp_path, SEED, BROAD, 4, 2) == [BROAD] * 2
    parts = json.loads((tmp_path / RECORD_FILE).read_text())["parts"]
    assert parts == [{"episodes": 2, "acting": BROAD}, {"episodes": 4, "acting": CONTACT}]


def test_episodes_that_were_never_recorded_bind_nobody(tmp_path: Path) -> None:
    open_recording(tmp_path, SEED, BROAD, 0, 1000)
    assert open_recording(tmp_path, {"seed": 2}, CONTACT, 0, 3) == [CONTACT] * 3
    open_recording(tmp_path, {"seed": 2}, CONTACT, 0, 1000)
    assert open_recording(tmp_path, {"seed": 2}, BROAD, 2, 4) == [CONTACT] * 2 + [BROAD] * 2


def test_another_seed_or_mix_of_the_same_episodes_is_refused(tmp_path: Path) -> None:
    open_recording(tmp_path, SEED, BROAD, 0, 2)
    with pytest.raises(ValueError, match="was recorded with seed = 1, now 2 is asked for; choose another"):
        open_recording(tmp_path, {"seed": 2}, BROAD, 1, 2)
    with pytest.raises(ValueError, match="was recorded with mix = 'broad', now 'contact' is asked for"):
        open_recording(tmp_path, SEED, CONTACT, 2, 2)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "holds episodes and no recording.json"),
        ("[]", "expected an object"),
        ('{"settings": {"seed": 1}}', "'parts'"),
        ('{"settings": {"seed": 1}, "parts": [{"episodes": -1, "acting": {}}]}', "parts.0.episodes is -1"),
        ('{"settings": {"seed": 1}, "parts": [{"episodes": 1, "acting": {}}]}', "speaks of 1 episodes"),
    ],
)
def test_a_record_that_is_missing_or_was_edited_is_refused(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / RECORD_FILE).write_text(content)
    with pytest.raises(ValueError, match=complaint) as raised:
        open_recording(tmp_path, SEED, BROAD, 2, 2)
    assert str(tmp_path) in str(raised.value)
