"""Checkpoints: a run that was killed goes on as if it had not been, files are whole, weights of others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from torch import nn

from common.engine.checkpoints import (
    RunCheckpoint,
    WeightsSaver,
    file_hash,
    load_tensors,
    load_weights,
    network_weights,
    save_half,
    start_hash,
)
from common.engine.numbered import NumberedSampler
from common.engine.transfer import start_from
from common.errors import InputError

EPOCHS, SAMPLES, BATCH = 5, 6, 2


class Killed(RuntimeError):
    pass


class Samples(torch.utils.data.Dataset):
    """Item n is always the same pair of random pictures."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(number)
        image, label = rng.random((3, 8, 8)), rng.random((2, 8, 8))
        return {"image": torch.from_numpy(image).float(), "label": torch.from_numpy(label).float()}


def make_network(seed: int = 0, maps: int = 2) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, maps, 1))


class Run:
    """A training as the bundles configure it, small: its parts, and a kill after so many iterations."""

    def __init__(self, path: Path, seed: int = 0, interval: int = 1, **signature: Any) -> None:
        self.network = make_network(seed)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.01)
        steps = EPOCHS * SAMPLES // BATCH + 1
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, max_lr=0.01, total_steps=steps)
        self.average = EMAHandler(self.network, 0.1, momentum_warmup=0.9, warmup_iters=14, handle_buffers="update")
        state = {
            "network": self.network,
            "average": self.average.ema_model,
            "optimizer": self.optimizer,
            "lr_scheduler": self.scheduler,
        }
        samples = Samples()
        self.trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=EPOCHS,
            train_data_loader=torch.utils.data.DataLoader(samples, batch_size=BATCH, sampler=NumberedSampler(samples)),
            network=self.network,
            optimizer=self.optimizer,
            loss_function=nn.MSELoss(),
            decollate=False,
            train_handlers=[
                LrScheduleHandler(self.scheduler, print_lr=False, epoch_level=False),
                RunCheckpoint(path, state, interval, signature),
            ],
        )
        self.average.attach(self.trainer)
        self.iterations: list[int] = []
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        self.kill_after: int | None = None

    def _note(self, engine: Engine) -> None:
        self.iterations.append(engine.state.iteration)
        if engine.state.iteration == self.kill_after:
            raise Killed

    def start(self, kill_after: int | None = None) -> Run:
        self.kill_after = kill_after
        self.trainer.run()
        return self


def assert_equal_states(one: Any, two: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_equal_states(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_equal_states(a, b)
    else:
        assert one == two


@pytest.mark.filterwarnings("ignore::UserWarning")
class TestResuming:
    @pytest.mark.parametrize(("kill_after", "interval", "lost"), [(4, 1, 1), (6, 1, 3), (8, 1, 2), (11, 2, 5)])
    def test_killed_and_resumed_equals_uninterrupted(
        self, tmp_path: Path, kill_after: int, interval: int, lost: int
    ) -> None:
        whole = Run(tmp_path / "whole.pt").start()
        killed = Run(tmp_path / "run.pt", interval=interval)
        with pytest.raises(Killed):
            killed.start(kill_after)
        resumed = Run(tmp_path / "run.pt", seed=99, interval=interval).start()
        assert resumed.iterations == list(range(kill_after - lost + 1, EPOCHS * SAMPLES // BATCH + 1))
        for part in ("network", "optimizer", "scheduler"):
            assert_equal_states(getattr(resumed, part).state_dict(), getattr(whole, part).state_dict())
        assert_equal_states(resumed.average.ema_model.state_dict(), whole.average.ema_model.state_dict())
        assert resumed.trainer.state.epoch == EPOCHS

    def test_a_finished_run_is_left_as_it_is(self, tmp_path: Path) -> None:
        done = Run(tmp_path / "run.pt").start()
        again = Run(tmp_path / "run.pt", seed=5).start()
        assert again.iterations == []
        assert_equal_states(again.network.state_dict(), done.network.state_dict())

    def test_the_checkpoint_of_another_run_is_refused_and_kept(self, tmp_path: Path) -> None:
        Run(tmp_path / "run.pt", fold=0, seed_of_run=1).start()
        before = (tmp_path / "run.pt").read_bytes()
        with pytest.raises(InputError, match=r"run\.pt.*fold = 0.*fold = 1") as caught:
            Run(tmp_path / "run.pt", fold=1, seed_of_run=1).start()
        assert "seed_of_run" not in str(caught.value)
        assert (tmp_path / "run.pt").read_bytes() == before
        assert Run(tmp_path / "run.pt", fold="0", seed_of_run=1).start().iterations == []

    def test_another_run_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "run.pt"
        RunCheckpoint(path, {}, signature={"split": "3 images, a"}).check()
        Run(path, split="3 images, a").start()
        RunCheckpoint(path, {}, signature={"split": "3 images, a"}).check()
        with pytest.raises(InputError, match="split = 3 images, a.*expected split = 3 images, b"):
            RunCheckpoint(path, {}, signature={"split": "3 images, b"}).check()

    def test_a_checkpoint_that_does_not_say_what_it_was_trained_on_is_refused(self, tmp_path: Path) -> None:
        Run(tmp_path / "run.pt", fold=0).start()
        with pytest.raises(InputError, match=r"an earlier version \(it does not say its learning_rate\)"):
            Run(tmp_path / "run.pt", fold=0, learning_rate=0.1).start()

    def test_overrides_that_differ_are_named_with_before_and_now(self, tmp_path: Path) -> None:
        path = tmp_path / "run.pt"
        Run(path, fold=0, overrides={"diameter": "16", "train#crops#size": "128"}).start()
        RunCheckpoint(path, {}, signature={"fold": 0, "overrides": {"train#crops#size": 128, "diameter": "16"}}).check()
        with pytest.raises(InputError) as caught:
            RunCheckpoint(path, {}, signature={"fold": 0, "overrides": {"diameter": "20", "loss#x": "1"}}).check()
        before = "diameter = 16, loss#x = as the config has it, train#crops#size = 128"
        now = "diameter = 20, loss#x = 1, train#crops#size = as the config has it"
        assert caught.value.found == f"the checkpoint of another run ({before})"
        assert caught.value.expected == f"{now}, or another ckpt_dir"
        with pytest.raises(InputError, match=r"\(diameter = 16, train#crops#size = 128\)"):
            RunCheckpoint(path, {}, signature={"fold": 0, "overrides": {}}).check()

    def test_an_override_that_the_signature_says_itself_is_compared_once(self, tmp_path: Path) -> None:
        path = tmp_path / "run.pt"
        Run(path, seed_of_run=1, overrides={"seed_of_run": "1"}).start()
        RunCheckpoint(path, {}, signature={"seed_of_run": 1, "overrides": {}}).check()
        with pytest.raises(InputError, match=r"another run \(seed_of_run = 1\); expected seed_of_run = 2, or"):
            RunCheckpoint(path, {}, signature={"seed_of_run": 2, "overrides": {"seed_of_run": "2"}}).check()

    def test_a_checkpoint_from_before_overrides_counted_is_of_an_earlier_version(self, tmp_path: Path) -> None:
        Run(tmp_path / "run.pt", split="3 images, a").start()
        now = {"split": "3 images, b", "overrides": {"diameter": "16"}}
        with pytest.raises(InputError) as caught:
            RunCheckpoint(tmp_path / "run.pt", {}, signature=now).check()
        assert "an earlier version (split = 3 images, a, it does not say its overrides)" in caught.value.found
        assert caught.value.expected.endswith("split = 3 images, b, diameter = 16, or another ckpt_dir")

    def test_a_finished_run_says_that_there_is_nothing_to_train(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        Run(tmp_path / "run.pt").start()
        assert "finished already" not in caplog.text
        Run(tmp_path / "run.pt").start()
        assert f"finished already after epoch {EPOCHS}, nothing to train" in caplog.text

    def test_a_kill_while_writing_leaves_the_last_checkpoint(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(tmp_path / "run.pt").start()
        before = (tmp_path / "run.pt").read_bytes()

        def half(content: Any, path: Path) -> None:
            path.write_bytes(before[: len(before) // 2])
            raise Killed

        monkeypatch.setattr(torch, "save", half)
        with pytest.raises(Killed):
            RunCheckpoint(tmp_path / "run.pt", {"network": run.network}).save(run.trainer)
        assert (tmp_path / "run.pt").read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]

    def test_weights_to_ship_are_the_average_at_the_end(self, tmp_path: Path) -> None:
        run = Run(tmp_path / "run.pt")
        WeightsSaver(tmp_path / "out" / "model.pt", run.average.ema_model).attach(run.trainer)
        run.start()
        shipped = load_tensors(tmp_path / "out" / "model.pt")
        assert_equal_states(shipped, {k: half(v) for k, v in run.average.ema_model.state_dict().items()})
        assert_equal_states(network_weights(tmp_path / "run.pt"), dict(run.average.ema_model.state_dict()))


def half(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


def test_half_precision_weights_load_into_single_precision(tmp_path: Path) -> None:
    network = make_network(1)
    network(torch.rand(4, 3, 8, 8))  # counts a batch
    save_half(network, tmp_path / "model.pt")
    loaded = load_weights(make_network(2), tmp_path / "model.pt")
    assert not loaded.training
    for name, value in loaded.state_dict().items():
        original = network.state_dict()[name]
        assert value.dtype == original.dtype
        assert torch.equal(value, half(original).to(original.dtype))
    assert int(loaded.state_dict()["1.num_batches_tracked"]) == 1
    stored = load_tensors(tmp_path / "model.pt")
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.int64}


@pytest.mark.parametrize("content", [b"", b"no weights at all", None])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.pt"
    save_half(make_network(), path)
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    for load in (
        load_tensors,
        network_weights,
        lambda p: load_weights(make_network(), p),
        lambda p: start_from(make_network(), p),
    ):
        with pytest.raises(InputError, match=r"model\.pt"):
            load(path)


def test_a_missing_file_and_other_content_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.pt.*no such file"):
        load_weights(make_network(), tmp_path / "absent.pt")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"list\.pt.*list"):
        load_tensors(tmp_path / "list.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Mine:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    torch.save({"a": Mine()}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="not readable as weights"):
        load_tensors(tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_half(make_network(maps=5), tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt.*another network"):
        load_weights(make_network(), tmp_path / "model.pt")


def test_a_hash_names_the_content(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (file_hash(tmp_path / name) for name in "abc")
    assert a == b != c
    assert len(a) == 12


def test_what_a_training_starts_from_counts_by_its_content(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (start_hash(tmp_path / name) for name in "abc")
    assert a == b != c
    assert a == file_hash(tmp_path / "a")
    assert start_hash(None) == start_hash("") == "none"
    with pytest.raises(InputError, match=r"absent\.pt: found no such file; expected a checkpoint"):
        start_hash(tmp_path / "absent.pt")
