"""Where live frames are placed in time, what a slow decoder leaves out, how long retries wait."""

import pytest

from mobile_videogpt.video.live.clock import PieceClock, RecordingClock, StreamClock
from mobile_videogpt.video.live.effort import DecodingEffort
from mobile_videogpt.video.live.patience import Patience

WAITED = 0.04


def stream(clock, count, stamp=100.0, now=5.0, step=0.04):
    """Packets that come as they are made; where the last one is placed, minus when it came."""
    for n in range(count):
        place = clock.place(stamp + n * step, now + n * step, WAITED)
    return place - (now + (count - 1) * step)


def test_packets_of_a_stream_that_are_waited_for_belong_to_now():
    assert stream(StreamClock(), 50) == pytest.approx(0)


def test_a_reader_that_lags_sees_by_how_much():
    clock = StreamClock()
    stream(clock, 50)  # up to stamp 101.96 at 6.96
    place = clock.place(102.0, 10.0, 0.0)  # it was there since 7.0
    assert place == pytest.approx(7.0)


def test_a_stream_whose_delay_grew_for_good_is_not_behind_for_ever():
    clock = StreamClock()
    stream(clock, 50)
    late = stream(clock, 500, stamp=102.0, now=11.0)
    assert -0.01 < late <= 0


def test_what_was_sent_while_connecting_has_no_time():
    clock = StreamClock()
    for n in range(40):  # the last four seconds at once
        clock.place(n * 0.1, 4.0, 0.0)
        assert clock.at(n * 0.1, 4.0) is None
    clock.place(4.0, 4.1, WAITED)
    assert clock.at(4.0, 4.1) == pytest.approx(4.1)


def test_a_reader_that_never_waits_gets_times_after_a_second():
    clock = StreamClock()
    for n in range(30):
        clock.place(n * 0.04, n * 0.1, 0.0)
    assert clock.at(29 * 0.04, 2.9) is not None


@pytest.mark.parametrize("jump", [-50.0, 3600.0])
def test_a_stream_that_counts_anew_goes_on_from_now(jump):
    clock = StreamClock()
    stream(clock, 50)
    assert clock.place(102.0 + jump, 7.0, WAITED) == pytest.approx(7.0)


def test_a_piece_of_a_file_is_played_at_its_own_speed():
    clock = PieceClock()
    places = [clock.place(50 + n * 0.5, 3.0, WAITED if n == 0 else 0.0) for n in range(4)]
    assert places == pytest.approx([3.0, 3.5, 4.0, 4.5])


def test_a_piece_that_comes_late_moves_what_follows():
    clock = PieceClock()
    clock.place(50.0, 3.0, WAITED)
    assert clock.place(50.5, 6.0, WAITED) == pytest.approx(6.0)
    assert clock.place(51.0, 6.0, 0.0) == pytest.approx(6.5)


def test_needless_delay_of_pieces_is_given_up_after_a_while():
    clock = PieceClock()
    clock.place(0.0, 10.0, WAITED)
    for n in range(1, 90):  # each packet is there four seconds before its time
        clock.place(float(n), 6.0 + n, WAITED)
    assert clock.place(90.0, 96.0, WAITED) == pytest.approx(96.0, abs=0.5)


def test_times_of_a_recording_are_those_of_the_film():
    clock = RecordingClock(first_stamp=1.5)
    clock.place(1.5, 0.2, 0.0)
    assert clock.at(3.5, 0.3) == pytest.approx(2.0)


def test_a_decoder_that_is_behind_leaves_out_more_and_more_until_a_key_frame():
    effort = DecodingEffort()
    levels = [
        effort.choose(behind, is_key)
        for behind, is_key in [
            (0.0, False),
            (1.5, False),
            (4.0, False),
            (0.1, False),  # caught up, but the frames in between are missing
            (0.1, True),
            (0.1, False),
        ]
    ]
    assert levels == ["DEFAULT", "NONREF", "NONKEY", "NONKEY", "DEFAULT", "DEFAULT"]
    assert effort.skipped == 2


def test_waits_double_up_to_a_limit_and_differ():
    patience = Patience(0.5, 8.0)
    waits = [patience.wait_s() for _ in range(8)]
    for wait, longest in zip(waits, [0.5, 1, 2, 4, 8, 8, 8, 8], strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(waits)) == len(waits)
    patience.begin_anew()
    assert patience.wait_s() <= 0.5
