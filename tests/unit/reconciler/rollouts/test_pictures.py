"""The timelines in the documentation are what the decider does."""

from __future__ import annotations

from rolloutpictures import DOCUMENT, SCENES, names, picture, with_pictures


def test_the_timelines_in_the_documentation_are_drawn_by_the_decider() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    anew = with_pictures(text)
    assert text == anew, "draw them anew: PYTHONPATH=.:tests python -m rolloutpictures"


def test_every_scene_is_shown_once() -> None:
    assert sorted(names(DOCUMENT.read_text(encoding="utf-8"))) == sorted(SCENES)


def test_a_picture_shows_the_old_and_the_new_version() -> None:
    assert {"A", "b", "B"} <= set(picture("rolling"))
