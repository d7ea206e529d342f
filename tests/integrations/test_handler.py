"""Stars in MONAI's evaluator: value, name, key metric, details, and whence the raw image comes."""

import pytest
import torch
from helpers import make_case, small_surrogate
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine
from monai.inferers import Inferer
from monai.transforms import AsDiscreted

from dqe_loss import DQEMetric, rate_segmentation

pytest.importorskip("ignite")
handler = pytest.importorskip("dqe_loss.integrations.monai")


class Answer(Inferer):
    """Instead of a network: what lies ready for each image."""

    def __init__(self, images, answers):
        self.known = list(zip(images, answers, strict=True))

    def __call__(self, inputs, network, *args, **kwargs):
        return torch.stack([next(out for image, out in self.known if torch.equal(image, x)) for x in inputs])


@pytest.fixture(scope="module")
def exam():
    """Network input, which is not the raw image, and what else the evaluator needs."""
    image, _, regions, logits = make_case()
    scaled = image / torch.tensor([100.0, 200, 400, 800]).reshape(4, 1, 1, 1)
    return {"image": scaled, "raw": image, "label": regions.float()}, logits


@pytest.fixture
def evaluate(exam):
    data, logits = exam

    def evaluate(metrics, batch=1, decollate=True, keys=("image", "raw", "label"), answers=logits):
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=[{key: data[key][i : i + batch] for key in keys} for i in range(0, 2, batch)],
            network=torch.nn.Identity(),
            inferer=Answer(data["image"], answers),
            # MONAI's transforms take exams, not batches.
            postprocessing=AsDiscreted("pred", threshold=0.0) if decollate else None,
            decollate=decollate,
            key_val_metric=metrics,
        )
        evaluator.run()
        return evaluator.state

    return evaluate


def make_handler(**options):
    return handler.DQEHandler(DQEMetric(small_surrogate()), **options)


def expected(exam, image="raw"):
    data, logits = exam
    return rate_segmentation(small_surrogate(), data[image], logits > 0)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_key_metric_is_the_mean_of_what_the_published_path_rates(evaluate, exam, batch):
    state = evaluate({"stars": make_handler()}, batch)
    stars = expected(exam)
    assert state.metrics == {"stars": pytest.approx(stars.mean().item())}
    assert state.key_metric_name == "stars"
    assert state.best_metric == state.metrics["stars"]
    torch.testing.assert_close(state.metric_details["stars"], stars)


def test_without_decollating_the_prediction_is_taken_as_it_is(evaluate, exam):
    data, logits = exam
    state = evaluate({"stars": make_handler()}, batch=2, decollate=False, answers=logits.sigmoid())
    stars = rate_segmentation(small_surrogate(), data["raw"], logits > 0)
    assert state.metrics["stars"] == pytest.approx(stars.mean().item())


def test_logits_without_postprocessing_are_refused(evaluate):
    with pytest.raises(ValueError, match=r"the prediction is taken as probabilities.*sigmoid\(logits\)"):
        evaluate({"stars": make_handler()}, batch=2, decollate=False)


def test_views_beside_the_mean(evaluate, exam):
    state = evaluate({"stars": make_handler(per_view=True, save_details=False)})
    axial, coronal, sagittal = expected(exam).mean(0).tolist()
    assert state.metrics == pytest.approx(
        {"stars": expected(exam).mean().item(), "stars_axial": axial, "stars_coronal": coronal,
         "stars_sagittal": sagittal}
    )  # fmt: skip
    assert state.metric_details == {}


def test_a_second_run_starts_anew(exam):
    data, _ = exam
    attached = make_handler()
    engine = SupervisedEvaluator(
        device=torch.device("cpu"), val_data_loader=[data], network=torch.nn.Identity(),
        inferer=lambda inputs, *_: (inputs[:, :3] > 0.9).float(), key_val_metric={"stars": attached},
    )  # fmt: skip
    engine.run()
    first = engine.state.metrics["stars"]
    engine.run()
    assert engine.state.metrics["stars"] == first
    assert len(engine.state.metric_details["stars"]) == 2


def test_monais_own_handler_rates_on_the_networks_input(evaluate, exam):
    state = evaluate(
        {"stars": IgniteMetricHandler(DQEMetric(small_surrogate()), output_transform=from_engine(["pred", "image"]))}
    )
    assert state.metrics["stars"] == pytest.approx(expected(exam, "image").mean().item())


def test_its_own_metric_has_the_default_checkpoint():
    assert handler.DQEHandler().metric_fn.surrogate.config.kind_of_ratings == "hybrid"


def test_a_missing_image_is_named_with_what_there_is(evaluate):
    with pytest.raises(ValueError, match=r"the engine's batch has no 'raw', only image, label; say where it lies"):
        evaluate({"stars": make_handler()}, keys=("image", "label"))
