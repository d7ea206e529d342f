"""The loss for loops that call it with prediction and target alone."""

import pytest
import torch
from helpers import make_case, make_loss, tiny_surrogate
from monai.losses import DiceLoss
from torch import nn
from torch.utils.data import DataLoader


@pytest.fixture(scope="module")
def exam():
    image, _, regions, logits = make_case()
    return logits, regions.float(), image


def make_sum():
    return DiceLoss(sigmoid=True) + 0.1 * make_loss(surrogate=tiny_surrogate())


def test_a_bound_image_serves_the_next_call_alone(exam):
    logits, target, image = exam
    criterion = make_sum()
    bound = criterion.bound()
    expected = criterion(logits, target, image=image)
    assert bound.bind(image=image)(logits, target) == expected
    with pytest.raises(ValueError, match=r"no image was bound for this call.*bind\(image=image\)"):
        bound(logits, target)
    bound.bind(image=torch.zeros_like(image))
    assert bound.bind(image=image)(logits, target) == expected  # what waits is replaced
    assert make_loss(surrogate=tiny_surrogate()).bound().bind(image=image)(logits, target) > 0


def test_an_image_that_failed_is_forgotten_too(exam):
    logits, target, image = exam
    bound = make_sum().bound()
    with pytest.raises(ValueError, match="same batch and voxels"):
        bound.bind(image=image[..., 1:])(logits, target)
    with pytest.raises(ValueError, match="no image was bound"):
        bound(logits, target)


def test_a_bound_origin_rates_the_patch_in_its_place(exam):
    logits, target, image = exam
    criterion = make_sum()
    patch = logits[..., 4:28, 2:26, :]
    expected = criterion(patch, target, image=image, origin=(4, 2, 0))
    assert criterion.bound().bind(image=image, origin=(4, 2, 0))(patch, target) == expected


def test_the_state_of_a_bound_loss_holds_the_counter_alone():
    bound = (DiceLoss(sigmoid=True) + make_loss(surrogate=tiny_surrogate(), warmup=1)).bound()
    assert list(bound.state_dict()) == ["loss.steps_done"]
    assert list(bound.parameters()) == []
    assert make_sum().bound().state_dict() == {}


def test_monais_trainer_hands_over_the_raw_image(exam):
    pytest.importorskip("ignite")
    from ignite.engine import Events
    from monai.engines import SupervisedTrainer

    logits, target, image = exam
    network = nn.Conv3d(3, 3, 1)
    bound = make_sum().bound()
    rows = [{"image": logits[i], "label": target[i], "raw": image[i]} for i in range(2)]
    losses = []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"), max_epochs=2, train_data_loader=DataLoader(rows, batch_size=1), network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.01), loss_function=bound,
        prepare_batch=bound.prepare_batch(image_key="raw"),
    )  # fmt: skip
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output[0]["loss"]))
    trainer.run()
    assert len(losses) == 4
    assert bound.loss.steps_done == 4
    assert {"DiceLoss", "DQELoss", "gradient_ratio"} < set(bound.loss.log)


def test_what_a_bound_sum_tells_and_counts_is_the_sums(exam):
    logits, target, image = exam
    criterion = make_sum()
    bound = criterion.bound()
    bound.bind(image=image)(logits.clone().requires_grad_(), target).backward()
    assert bound.log == criterion.log
    assert set(bound.figures) == set(criterion.figures)
    with torch.no_grad():
        bound.bind(image=image)(logits, target)
    assert bound.validation_log == criterion.validation_log != {}
    bound.steps_done = 800
    assert bound.steps_done == criterion.steps_done == 800


def test_what_a_bound_loss_does_not_have_is_an_error_with_the_cure():
    bound = make_loss(surrogate=tiny_surrogate()).bound()
    for name in ("steps_done", "log", "validation_log", "figures"):
        with pytest.raises(
            AttributeError, match=rf"the bound DQELoss has no {name}, a sum of losses has: bind the sum"
        ):
            getattr(bound, name)
    with pytest.raises(AttributeError, match="has no steps_done"):
        bound.steps_done = 800
    with pytest.raises(AttributeError, match="no attribute 'logs'"):
        bound.logs  # noqa: B018


@pytest.mark.slow
def test_a_bound_sum_compiles_whole(exam):
    logits, target, image = exam
    bound = (nn.BCEWithLogitsLoss() + make_loss(surrogate=tiny_surrogate())).bound()
    compiled = torch.compile(bound, fullgraph=True, backend="aot_eager")
    bound.bind(image=image)
    torch.testing.assert_close(compiled(logits, target), bound.loss(logits, target, image=image))


def test_a_batch_without_keys_is_named_and_not_printed(exam):
    logits, target, _ = exam
    prepare = make_sum().bound().prepare_batch()
    with pytest.raises(TypeError, match=r"a batch with keys, such as 'raw' .* got a tuple: let the data set give dict"):
        prepare((logits, target), torch.device("cpu"), False)


def test_a_batch_without_the_image_names_what_it_has(exam):
    logits, target, _ = exam
    prepare = make_sum().bound().prepare_batch(image_key="raw")
    with pytest.raises(ValueError, match=r"no 'raw', only image, label; .*prepare_batch\(image_key"):
        prepare({"image": logits, "label": target}, torch.device("cpu"), False)


def test_cropped_labels_are_rated_in_the_full_size_one(exam):
    pytest.importorskip("ignite")
    logits, target, image = exam
    criterion = make_sum()
    bound = criterion.bound()
    patch = (..., slice(4, 28), slice(2, 26), slice(None))
    origin = torch.tensor([[4, 2, 0]] * 2)
    batch = {"image": logits[patch], "label": target[patch], "raw": image, "whole": target, "origin": origin}
    prepare = bound.prepare_batch(origin_key="origin", target_key="whole")
    prediction, label = prepare(batch, torch.device("cpu"), False)
    assert bound(prediction, label) == criterion(logits[patch], target, image=image, origin=origin)
    with pytest.raises(ValueError, match=r"no 'nothing', .*prepare_batch\(target_key"):
        bound.prepare_batch(target_key="nothing")(batch)
