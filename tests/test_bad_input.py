"""What users really have in their folders: bad files are named, the rest goes on, the exit status says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from common.nuclei.synthetic import fluorescence_image
from common.outputs.labels import read_label_tiff

REPOSITORY = Path(__file__).resolve().parents[1]
BUNDLE = REPOSITORY / "bundles" / "microscopy_nuclei_instance_segmentation"


def run(configs: tuple[str, ...], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the bundle as a user would; the output of both streams in ``stdout``."""
    files = "[" + ",".join(f"'{BUNDLE / 'configs' / name}'" for name in configs) + "]"
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, "--bundle_root", str(BUNDLE)]
    return subprocess.run(
        [*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY
    )


@pytest.fixture(scope="module")
def picture() -> tuple[np.ndarray, np.ndarray]:
    made = fluorescence_image((120, 150), 20, 18.0, np.random.default_rng(1))
    return made.pixels[..., 0], made.instances


@pytest.mark.slow
def test_a_folder_of_odd_images_is_worked_through(tmp_path: Path, picture: tuple[np.ndarray, np.ndarray]) -> None:
    grey, _ = picture
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "good.png"), grey)
    cv2.imwrite(str(images / "sixteen.png"), grey.astype(np.uint16) * 16)
    cv2.imwrite(str(images / "rgba.png"), np.dstack([grey, grey, grey, np.full_like(grey, 255)]))
    cv2.imwrite(str(images / "black.png"), np.zeros((40, 50), np.uint8))
    cv2.imwrite(str(images / "one_pixel.png"), np.full((1, 1), 7, np.uint8))
    whole = (images / "good.png").read_bytes()
    (images / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (images / "text.png").write_text("no image")
    tifffile.imwrite(images / "stained.ome.tif", np.stack([grey, grey, grey]), ome=True, metadata={"axes": "CYX"})
    (images / "dead.png").symlink_to(tmp_path / "moved" / "dead.png")
    (images / "more").mkdir()
    cv2.imwrite(str(images / "more" / "unread.png"), grey)
    done = run(("inference.json",), "--dataset_dir", images, "--output_dir", tmp_path / "out")
    assert done.returncode == 1, done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sorted(problem["name"] for problem in summary["problems"]) == [
        "dead", "stained.ome", "text", "truncated",
    ]  # fmt: skip
    assert "truncated.png" in done.stdout
    assert "a stack of 3 channels" in done.stdout
    assert "1 image in subfolders is not read: more/unread.png" in done.stdout
    assert summary["images"] == 5
    assert "truncated" in (tmp_path / "out" / "report.html").read_text()
    good = read_label_tiff(tmp_path / "out" / "good_label.tif")
    assert good.shape == grey.shape
    assert good.max() >= 10
    for same in ("sixteen", "rgba"):
        assert np.array_equal(good > 0, read_label_tiff(tmp_path / "out" / f"{same}_label.tif") > 0)
    assert read_label_tiff(tmp_path / "out" / "black_label.tif").max() == 0
    assert read_label_tiff(tmp_path / "out" / "one_pixel_label.tif").shape == (1, 1)


@pytest.mark.slow
def test_bad_truth_is_left_out_of_an_evaluation_by_name(tmp_path: Path, picture: tuple[np.ndarray, np.ndarray]) -> None:
    grey, instances = picture
    images, masks = tmp_path / "data" / "images", tmp_path / "data" / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    for name in ("good", "smaller", "coloured", "overlapping"):
        cv2.imwrite(str(images / f"{name}.png"), grey)
    cv2.imwrite(str(masks / "good.png"), instances.astype(np.uint16))
    cv2.imwrite(str(masks / "smaller.png"), instances[:-3].astype(np.uint16))
    cv2.imwrite(str(masks / "coloured.png"), np.dstack([instances, instances * 2, instances]).astype(np.uint8))
    cv2.imwrite(str(masks / "lonely.png"), instances.astype(np.uint16))
    (masks / "overlapping").mkdir()
    for number in (1, 2):
        mask = np.zeros(grey.shape, np.uint8)
        mask[20 : 40 + 2 * number, 20 : 30 + 5 * number] = 255
        cv2.imwrite(str(masks / "overlapping" / f"{number}.png"), mask)
    done = run(("train.json", "evaluate.json"), "--dataset_dir", tmp_path / "data", "--output_dir", tmp_path / "scores")
    assert done.returncode == 1, done.stdout
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    reasons = {problem["name"]: problem["reason"] for problem in summary["problems"]}
    assert sorted(reasons) == ["coloured", "lonely", "smaller"]
    assert "117" in reasons["smaller"] and "120" in reasons["smaller"]
    assert "without image" in reasons["lonely"]
    assert "belong to several objects" in done.stdout
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["n_images"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("case", ["empty folder", "no such folder", "misspelt override", "no write permission"])
def test_a_mistake_is_one_clear_line(case: str, tmp_path: Path, picture: tuple[np.ndarray, np.ndarray]) -> None:
    images, output = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    cv2.imwrite(str(images / "a.png"), picture[0])
    arguments: list[object] = ["--dataset_dir", images, "--output_dir", output]
    if case == "empty folder":
        (images / "a.png").unlink()
        words = "images: found"
    elif case == "no such folder":
        arguments[1], words = tmp_path / "absent", "absent: found no such"
    elif case == "misspelt override":
        arguments += ["--patch_sise", 256]
        words = "did you mean patch_size"
    else:
        # Root may write anywhere, but not below a file.
        output.write_text("")
        arguments[3], words = output / "below", "expected a folder that can be written"
    done = run(("inference.json",), *arguments)
    assert done.returncode == 1
    assert words in done.stdout
    assert done.stdout.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stdout
