import numpy as np
import pytest
import torch

from rewardkit.errors import UsageError
from rewardkit.media.batch import Clip
from rewardkit.media.sheets import contact_sheet, one_line, playing_sheet


def plain(colour, height=20, width=40):
    return torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, height, width)


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_pictures_stand_in_rows_above_their_captions():
    sheet = np.asarray(
        contact_sheet([plain(RED), plain(GREEN), plain(BLUE)], ["a", "b", "c"], columns=2, width=80)
    )
    # Columns begin at 12 and 12 + 80 + 12; pictures are 80 x 40; a line of text is 20 high.
    assert sheet.shape == (12 + 60 + 12 + 60 + 12, 12 + 80 + 12 + 80 + 12, 3)
    for top, left, colour in [(12, 12, RED), (12, 104, GREEN), (84, 12, BLUE)]:
        assert (sheet[top : top + 40, left : left + 80] == colour).all()
        assert (sheet[top + 40 : top + 60, left : left + 80] < 128).any()  # ink below it
    assert (sheet[84:124, 104:184] == 255).all()  # no fourth picture


def test_pictures_of_any_shape_are_scaled_whole_into_the_width():
    sheet = np.asarray(contact_sheet([plain(RED, 100, 20)], [""], width=50))
    assert sheet.shape == (12 + 50 + 20 + 12, 12 + 50 + 12, 3)
    assert (sheet[12:62, 12:22] == RED).all()
    assert (sheet[12:62, 22:] == 255).all()


WHITE = (255, 255, 255)


def test_a_clip_is_shown_by_four_frames_from_its_first_to_its_last():
    frames = torch.stack([plain(c) for c in (RED, GREEN, WHITE, WHITE, BLUE, GREEN, RED)])
    sheet = np.asarray(contact_sheet([Clip(frames, 8.0)], ["a"], width=80))
    # Frames 0, 2, 4 and 6 of 7, in two rows, each 40 x 20.
    for top, left, colour in [(12, 12, RED), (12, 52, WHITE), (32, 12, BLUE), (32, 52, RED)]:
        assert (sheet[top + 1 : top + 19, left + 1 : left + 39] == colour).all()


def test_a_short_clip_is_shown_whole():
    frames = torch.stack([plain(RED), plain(GREEN)])
    sheet = np.asarray(contact_sheet([Clip(frames, 8.0)], ["a"], width=80))
    assert (sheet[13:31, 13:51] == RED).all() and (sheet[13:31, 53:91] == GREEN).all()


def test_clips_play_on_a_sheet_each_at_its_own_rate_and_place():
    fast = Clip(torch.stack([plain(c) for c in (RED, GREEN, BLUE, RED)]), 8.0)
    slow = Clip(torch.stack([plain(c) for c in (BLUE, RED, GREEN)]), 4.0)
    media, captions = [fast, plain(GREEN), slow], ["a", "b", "c"]
    sheet = playing_sheet(media, captions, width=81)
    assert sheet.fps == 8.0 and sheet.frames.shape == (6, 3, 84, 292)  # even
    for place, colours in enumerate(
        [
            (RED, GREEN, BLUE, RED, RED, RED),
            (GREEN,) * 6,
            (BLUE, BLUE, RED, RED, GREEN, GREEN),
        ]
    ):
        left = 12 + place * 93
        shown = sheet.frames[:, :, 12:52, left : left + 81].permute(0, 2, 3, 1)
        for frame, colour in zip(shown, colours, strict=True):
            assert (frame == torch.tensor(colour)).all(), (place, colour)
    still = np.asarray(contact_sheet([plain(RED), plain(GREEN), plain(BLUE)], captions, width=81))
    ours = sheet.frames[0].permute(1, 2, 0).numpy()
    assert (ours[: still.shape[0], : still.shape[1]] == still).all(), "the same sheet, but moving"


def test_pictures_alone_do_not_play():
    with pytest.raises(UsageError, match="needs a clip"):
        playing_sheet([plain(RED)], ["a"])


def test_a_caption_never_runs_into_the_next_picture():
    sheet = np.asarray(contact_sheet([plain(RED)], ["word " * 50 + "\nsecond line"], width=60))
    assert sheet.shape == (12 + 30 + 40 + 12, 84, 3)
    assert (sheet[:, 72:] == 255).all()
    assert (sheet[42 + 20 : 42 + 40] < 128).any()


@pytest.mark.parametrize(("count", "captions", "columns"), [(0, [], 1), (1, [], 1), (1, ["a"], 0)])
def test_a_sheet_of_nothing_is_a_wrong_request(count, captions, columns):
    with pytest.raises(UsageError, match="needs media, a caption for each"):
        contact_sheet([plain(RED)] * count, captions, columns=columns)


def test_a_prompt_of_any_length_and_any_lines_is_one_cut_line():
    text = one_line("a cat\n" * 100_000)  # as lines, two million pixels high
    assert "\n" not in text and text.startswith("a cat a cat")
    # Measured letter by letter from its end, this line would take minutes.
    sheet = np.asarray(contact_sheet([plain(RED)], [text], width=60))
    assert sheet.shape == (12 + 30 + 20 + 12, 84, 3)
    assert (sheet[:, 72:] == 255).all()
