import io

from rich.console import Console

from convgate.train.fit import fit
from convgate.train.progress import Bar


def test_a_terminal_shows_speed_loss_rate_and_time_left(tiny, tmp_path, monkeypatch):
    screen = io.StringIO()

    def on_screen(self, epochs):
        terminal = Console(file=screen, force_terminal=True, width=120)
        bar(self, epochs, terminal)

    bar = Bar.__init__
    monkeypatch.setattr(Bar, "__init__", on_screen)
    monkeypatch.setattr("convgate.train.progress.REFRESH_S", 0.0)
    fit(tiny(), tmp_path, progress=True)
    shown = screen.getvalue()
    for part in ("img/s", "loss", "rate", "0:00", "epoch 4/4"):
        assert part in shown


def test_silence(tiny, tmp_path, capfd):
    fit(tiny("schedule.epochs=1"), tmp_path, progress=False)
    seen = capfd.readouterr()
    assert (seen.out, seen.err) == ("", "")
