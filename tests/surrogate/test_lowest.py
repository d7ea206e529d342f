"""What is shown and explained are the planes that the stars are of, wherever the rating looked."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import make_image, make_labels, small_surrogate

from dqe_loss import MODALITIES, VIEWS, rate_segmentation, save_surrogate
from dqe_loss.core.centers import CENTERS, bright_center
from dqe_loss.core.mask import LabelMask
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.data.exams import read_exam
from dqe_loss.explain.saliency import explain_labels
from dqe_loss.rate import command as rate
from dqe_loss.surrogate.lowest import lowest_planes

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
ALL = [("flair",), ("brain",), ("mask",), ("mask", "flair"), CENTERS]


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    """The folder of an exam with two masks, and FLAIR brightest where neither of them is."""
    folder = tmp_path_factory.mktemp("exams") / "exam"
    folder.mkdir()
    image = make_image()
    image[3, 4:12, 15:23, 3:11] = 3000
    for modality, channel in zip(MODALITIES, image, strict=True):
        nib.Nifti1Image(channel.astype(np.int16), LPS).to_filename(folder / f"{modality}.nii.gz")
    for name, center in (("seg-one", (0.1, -0.1, 0.3)), ("seg-two", (0.3, -0.3, 0.2))):
        nib.Nifti1Image(make_labels(center=center), LPS).to_filename(folder / f"{name}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def batch(exam):
    """Image and masks of the exam as a batch of two."""
    read = read_exam(exam)
    image = torch.from_numpy(read.image)[None].repeat(2, 1, 1, 1, 1)
    return image, torch.from_numpy(np.stack(list(read.segmentations.values())))[:, None]


@pytest.mark.parametrize("centers", ALL)
def test_the_stars_are_those_through_the_planes_that_count(batch, centers):
    image, labels = batch
    surrogate = small_surrogate()
    planes = lowest_planes(surrogate, image, LabelMask(labels, "brats"), centers)
    expected = rate_segmentation(surrogate, image, labels, center=centers)
    torch.testing.assert_close(rate_segmentation(surrogate, image, labels, center=planes.center), expected)
    through = {name: rate_segmentation(surrogate, image, labels, center=(name,)) for name in centers}
    for exam, places in enumerate(planes.places):
        assert list(places) == list(VIEWS)
        for column, (view, place) in enumerate(places.items()):
            assert through[place][exam, column] == min(stars[exam, column] for stars in through.values()), view
    saliency = explain_labels(surrogate, image, labels, center=centers)
    found = torch.stack([one.stars for one in saliency.values()], 1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    for view, one in saliency.items():
        assert torch.equal(one.index, planes.center[:, VIEW_AXIS[view]])


def test_a_given_center_is_explained(batch):
    image, labels = batch
    center = torch.tensor([[10, 12, 8], [20, 5, 15]])
    saliency = explain_labels(small_surrogate(), image, labels, center=center)
    expected = rate_segmentation(small_surrogate(), image, labels, center=center)
    torch.testing.assert_close(torch.stack([one.stars for one in saliency.values()], 1), expected, atol=1e-4, rtol=0)
    for wrong in (center.float(), center[:1]):
        with pytest.raises(ValueError, match=r"center must be whole voxels \(B, 3\), got"):
            explain_labels(small_surrogate(), image, labels, center=wrong)


@pytest.mark.parametrize("centers", [*(pytest.param(one, marks=pytest.mark.slow) for one in ALL[:-1]), ALL[-1]])
def test_the_command_shows_and_explains_what_it_rates(exam, batch, centers, tmp_path, monkeypatch):
    report = pytest.importorskip("dqe_loss.viz.planes")
    drawn = []
    monkeypatch.setattr(report.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    checkpoint = tmp_path / "small.safetensors"
    save_surrogate(small_surrogate(), checkpoint)
    files = {kind: tmp_path / f"{kind}.json" for kind in ("json", "explain")}
    given = [str(x) for kind, file in files.items() for x in (f"--{kind}", file)]
    options = [
        "--exam",
        str(exam),
        "--checkpoint",
        str(checkpoint),
        "--center",
        *centers,
        "--figure",
        str(tmp_path / "a.png"),
    ]
    assert rate.main([*options, "--figure", str(tmp_path / "a.png"), *given]) == 0
    ratings, explained = (json.loads(file.read_text()) for file in files.values())
    image, labels = batch
    planes = lowest_planes(small_surrogate(), image, LabelMask(labels, "brats"), centers)
    assert explained["center"] == list(centers)
    read = read_exam(exam)
    titles = iter([text.get_text() for text in drawn[0].figure.texts if ", " in text.get_text()][-6:])
    panels = iter(drawn[0].axes)
    for number, (name, stars) in enumerate(ratings["ratings"].items()):
        for view, axis in VIEW_AXIS.items():
            found, index = explained["saliency"][name][view], int(planes.center[number, axis])
            assert (found["plane"], found["place"]) == (index, planes.places[number][view])
            assert found["stars"] == pytest.approx(stars[view], abs=1e-4)
            title = next(titles)
            assert title.startswith(f"{view}, {'XYZ'[axis]} = {index}")
            assert title.endswith(f"{stars[view]:.2f} stars")
            assert ("through" in title) == (found["place"] != "mask")
            shown = next(panels).images[0].get_array()
            next(panels)
            whole = np.take(read.image[MODALITIES.index("flair")], index, axis).T
            whole = whole if view == "axial" else whole[::-1]  # superior up
            assert any(
                np.array_equal(whole[i : i + shown.shape[0], j : j + shown.shape[1]], shown)
                for i in range(whole.shape[0] - shown.shape[0] + 1)
                for j in range(whole.shape[1] - shown.shape[1] + 1)
            )
    if centers == ("flair",):
        bright = bright_center(image[:1])[0].tolist()
        assert [explained["saliency"]["seg-one"][v]["plane"] for v in VIEWS] == [bright[VIEW_AXIS[v]] for v in VIEWS]
        own = lowest_planes(small_surrogate(), image, LabelMask(labels, "brats")).center
        assert (own[0] != torch.tensor(bright)).all()
