"""Controls without a browser: defaults, what they remember, and what readers without a kernel get."""

import pytest

from sftlab import plot, widgets
from sftlab.core.statistics import wilson

pytestmark = pytest.mark.usefixtures("forget")


def play(game, answers, seconds=20.0):
    """Do what the browser does at the end of a game."""
    with game.view.hold_trait_notifications():
        game.view.answers, game.view.elapsed = answers, seconds
        game.view.ended += 1


def test_a_guess_is_its_default_until_somebody_moves_it_and_then_what_was_chosen(capsys):
    guess = widgets.predict("stages that changed", 0, 9, default=3)
    assert (float(guess), guess.value, guess.touched) == (3.0, 3, False)
    assert capsys.readouterr().out == "Your guess: stages that changed (0 to 9)\n"
    assert widgets.predict("accuracy", 0.5, 1.0).value == 0.5
    assert "guess" not in plot.guess_vs_result(7, guess, low=0, high=9, unit="").get_title(loc="left")
    guess.view.value, guess.view.touched = 7, True
    assert "you guessed 7" in plot.guess_vs_result(7, guess, low=0, high=9, unit="").get_title(loc="left")
    again = widgets.predict("stages that changed", 0, 9, default=3)
    assert again.value == 7 and again.touched and widgets.predict("another question", 0, 9, default=3).value == 3


@pytest.mark.parametrize(("low", "high", "default", "words"), [(5, 5, 5, "must rise"), (0, 9, 12, "not between")])
def test_a_guess_off_the_scale_is_refused(low, high, default, words):
    with pytest.raises(ValueError, match=words):
        widgets.predict("q", low, high, default)


def test_what_a_learner_reads_is_escaped(blobs):
    assert "a &lt;b&gt; &amp; c" in widgets.predict("a <b> & c", 0, 9).html()


def test_a_game_nobody_plays_shows_the_images_and_goes_on(blobs):
    game = widgets.label_cells(blobs.test, [0, 1, 2], seconds=30, licence="CC BY 4.0")
    assert (game.answers, game.view.elapsed, game.accuracy, game.view.score) == ([], 0.0, None, "")
    assert game.text() == "not played: 3 cells to label, 30 seconds"
    page = game.html()
    assert page.count("<img") == 1 and 'alt="3 cells: 0 or 1?' in page and "<details>" in page
    assert [uri[:22] for uri in game.view.fixed["images"]] == ["data:image/png;base64,"] * 3


def test_a_game_is_scored_with_the_interval_that_networks_get(blobs):
    game = widgets.label_cells(blobs.test, list(range(12)))
    truth = [int(k) for k in blobs.test.y[:12]]
    answers = [*truth[:9], *(1 - k for k in truth[9:])]
    play(game, answers, 41.0)
    assert game.answers == answers and game.view.elapsed == 41.0
    assert game.accuracy == wilson(9, 12)
    assert game.text() == "9 of 12 cells right in 41 s: accuracy 75 %, 95 % interval 47 to 91 %"
    assert game.view.spoken["said"] == game.text() + "." and "✓" in game.view.score and "✗" in game.view.score
    assert game.text() in game.html()


def test_a_game_that_ran_out_of_time_counts_what_was_answered(blobs):
    game = widgets.label_cells(blobs.test, [0, 1, 2, 3], seconds=5)
    play(game, [int(blobs.test.y[0])], 5.0)
    assert game.accuracy == wilson(1, 1)
    assert game.text().startswith("1 of the 1 cells you reached right in 5 s")


def test_a_finished_game_survives_running_its_cell_again_and_can_be_played_again(blobs):
    game = widgets.label_cells(blobs.test, [0, 1])
    play(game, [0, 0])
    again = widgets.label_cells(blobs.test, [0, 1])
    assert again.answers == [0, 0] and again.view.ended == 1
    play(again, [1, 1])
    assert again.answers == [1, 1]
    assert widgets.label_cells(blobs.test, [0, 2]).answers == []


def test_nothing_to_label_is_refused(blobs):
    with pytest.raises(ValueError, match="nothing to label"):
        widgets.label_cells(blobs.test, [])
