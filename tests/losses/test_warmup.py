"""The warm-up of a sum: what counts as a step, how it is resumed, and what happens meanwhile."""

import copy
import pickle
import warnings

import pytest
import torch
from helpers import gradient_of, make_case, make_loss, tiny_surrogate
from monai.losses import DiceLoss
from torch import nn

from dqe_loss import LossSum
from dqe_loss.losses import steps

DICE = DiceLoss(sigmoid=True)


@pytest.fixture(scope="module")
def exam():
    image, _, regions, logits = make_case()
    return logits, regions.float(), image


def make_sum(warmup=2, **options):
    return DiceLoss(sigmoid=True) + make_loss(surrogate=tiny_surrogate(), warmup=warmup, **options)


def call(criterion, exam):
    logits, regions, image = exam
    return criterion(logits, regions, image=image)


def take_step(criterion, exam, calls=1):
    """One optimizer step of a network of one number, after as many calls as gradients are accumulated over."""
    shift = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([shift], 1e-3)
    logits, regions, image = exam
    for _ in range(calls):
        criterion(logits + shift, regions, image=image).backward()
    optimizer.step()


def rates(criterion, exam):
    """Whether the rating takes part in a training step now."""
    logits, regions, image = exam
    total = gradient_of(criterion, logits, regions, image=image)
    return not torch.equal(total, gradient_of(DICE, logits, regions))


def test_training_leaves_the_term_out_until_the_optimizer_has_stepped(exam):
    criterion = make_sum(warmup=2)
    for step in (0, 1):
        assert criterion.steps_done == step
        assert not rates(criterion, exam)
        assert set(criterion.log) == {"DiceLoss", "skipped", "stars_of_target"}
        take_step(criterion, exam)
    assert criterion.steps_done == 2
    assert rates(criterion, exam)
    assert {"DQELoss", "gradient_ratio"} < set(criterion.log)


@pytest.mark.parametrize("calls", [2, 5])
def test_accumulated_gradients_and_several_calls_are_one_step(exam, calls):
    criterion = make_sum(warmup=3)
    for _ in range(2):
        take_step(criterion, exam, calls)
    assert criterion.steps_done == 2
    assert not rates(criterion, exam)


def test_another_networks_optimizer_and_a_skipped_step_do_not_count(exam):
    criterion = make_sum(warmup=3)
    other = torch.optim.Adam([nn.Parameter(torch.zeros(1, requires_grad=True))])
    other.step()  # before any call
    assert criterion.steps_done == 0
    take_step(criterion, exam)
    other.step()  # a discriminator's, say: it follows upon no call of this criterion
    assert criterion.steps_done == 1
    scaler = torch.amp.GradScaler("cpu")
    shift = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([shift], 1e-3)
    scaler.scale(call(criterion, exam) + shift * float("inf")).backward()
    scaler.step(optimizer)  # the scaler skips it
    scaler.update()
    assert criterion.steps_done == 1


def test_without_an_optimizer_of_torch_calls_are_counted_and_that_is_told_once(exam, monkeypatch):
    monkeypatch.setattr(steps, "CALLS_WITHOUT_OPTIMIZER", 64)
    criterion = LossSum(nn.BCEWithLogitsLoss(), make_loss(surrogate=tiny_surrogate(), warmup=80, on_small="skip"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(79):
            call(criterion, exam)
        assert criterion.steps_done == 79
    told = [str(warning.message) for warning in told if "optim" in str(warning.message)]
    assert len(told) == 1
    assert "no optimizer of torch.optim has stepped in 64 calls" in told[0]


def count(counter, calls):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(calls):
            counter.call()
    return int(counter.steps)


@pytest.mark.parametrize("start", [0, 5000])
def test_a_step_after_very_many_calls_is_one_more_than_there_were(start):
    """A resumed training, too, goes on from where it was."""
    counter = steps.StepCounter()
    counter.set(start)
    calls = steps.CALLS_WITHOUT_OPTIMIZER + 6
    assert count(counter, calls) == start + calls
    counter.note_step()
    assert int(counter.steps) == start + 1
    assert count(counter, 2 * calls) == start + 1
    counter.note_step()
    assert int(counter.steps) == start + 2


def test_a_number_that_is_set_while_calls_are_counted_is_gone_on_from():
    counter = steps.StepCounter()
    count(counter, steps.CALLS_WITHOUT_OPTIMIZER + 1)
    counter.set(70)
    counter.note_step()
    assert int(counter.steps) == 71


def test_gradients_of_128_calls_are_one_step():
    """So that a warm-up of some hundred steps does not end inside of the first."""
    assert count(steps.StepCounter(), 128) == 0


def test_validation_is_the_whole_sum_during_the_warm_up_and_after_it(exam):
    """Else the validation loss jumps where the warm-up ends, and early stopping ends the run."""
    criterion = make_sum(warmup=1)
    whole = float(call(make_sum(warmup=0), exam))

    def validate():
        criterion.eval()
        values = [float(call(criterion, exam))]
        criterion.train()
        with torch.no_grad():
            values.append(float(call(criterion, exam)))
        return values

    before = validate()
    assert criterion.steps_done == 0
    take_step(criterion, exam)
    assert before == validate() == pytest.approx([whole, whole])
    assert criterion.steps_done == 1


def test_validation_does_not_overwrite_the_log_of_training(exam):
    criterion = make_sum(warmup=0)
    logits, regions, image = exam
    gradient_of(criterion, logits, regions, image=image)
    noted = criterion.log
    with torch.no_grad():
        criterion(logits + 1, regions, image=image)
    assert criterion.log == noted
    assert criterion.validation_log["DiceLoss"] != noted["DiceLoss"]
    assert set(criterion.validation_log) == {"DiceLoss", "DQELoss"}


# Resuming


def test_a_resumed_training_resumes_its_warm_up(exam, tmp_path):
    first = make_sum(warmup=2)
    take_step(first, exam)
    assert first.state_dict() == {"steps_done": torch.tensor(1)}
    torch.save(first.state_dict(), tmp_path / "state.pt")
    resumed = make_sum(warmup=2)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.steps_done == 1
    take_step(resumed, exam)
    assert rates(resumed, exam)
    assert first.steps_done == 1  # nothing is shared with what was loaded


def test_the_counter_travels_with_a_module_that_holds_the_criterion(exam):
    def module():
        return nn.ModuleDict({"network": nn.Linear(1, 1), "criterion": make_sum(warmup=2)})

    trained = module()
    take_step(trained["criterion"], exam)
    resumed = module()
    resumed.load_state_dict(trained.state_dict(), strict=True)
    assert resumed["criterion"].steps_done == 1


def test_states_of_earlier_versions_load_and_say_where_the_warm_up_stands():
    criterion = make_sum(warmup=2)
    with pytest.warns(UserWarning, match="holds no steps_done.*the warm-up stands at step 0; set criterion.steps_done"):
        criterion.load_state_dict({}, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_sum(warmup=0).load_state_dict({}, strict=True)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        criterion.load_state_dict({"steps_done": torch.tensor(1), "other": torch.tensor(1)})


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_count_on_by_themselves(exam, twin):
    criterion = make_sum(warmup=9)
    take_step(criterion, exam)
    other = twin(criterion)
    take_step(other, exam)
    assert (criterion.steps_done, other.steps_done) == (1, 2)


@pytest.mark.parametrize("derive", [lambda c: 2 * c, lambda c: c + nn.BCEWithLogitsLoss(), lambda c: LossSum(c)])
def test_what_is_made_of_a_sum_has_warmed_up_as_far(exam, derive):
    criterion = make_sum(warmup=2)
    take_step(criterion, exam)
    assert derive(criterion).steps_done == 1


def test_a_warm_up_without_other_losses_is_an_error(exam):
    for alone in (make_loss(warmup=5), 0.1 * make_loss(warmup=5)):
        with pytest.raises(ValueError, match=r"DQELoss\(warmup=5\) leaves out steps beside other losses.*DiceLoss"):
            call(alone, exam)


def test_bad_data_is_told_at_the_first_step_of_a_warm_up(exam):
    logits, regions, image = exam
    criterion = DiceLoss(sigmoid=True) + 0.1 * make_loss(warmup=100)
    with pytest.raises(ValueError, match="same batch and voxels"):
        criterion(logits, regions, image=image[..., 1:])
    with pytest.raises(ValueError, match="image=image"):
        criterion(logits, regions)
    criterion(logits, regions, image=image)
    assert "DQELoss" not in criterion.log


# Captured


@pytest.mark.parametrize("options", [{"warmup": 2}, {"every": 2}])
def test_a_graph_cannot_be_captured_while_a_term_is_to_join_or_rests(exam, options, monkeypatch):
    """It would repeat the one step for ever; a CPU stands in for the stream that captures."""
    monkeypatch.setattr("dqe_loss.losses.sum.cannot_wait", lambda x: True)
    criterion = make_sum(**{"warmup": 0, **options})
    with pytest.raises(ValueError, match="capture after the warm-up, and with every=1"):
        call(criterion, exam)
    criterion.steps_done = 2
    if "warmup" in options:
        call(criterion, exam)
    with torch.no_grad():
        call(criterion, exam)


# Compiled


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_sum_warms_up_in_one_graph(exam, backend):
    logits, regions, image = exam
    torch._dynamo.reset()
    criterion = nn.BCEWithLogitsLoss() + make_loss(surrogate=tiny_surrogate(), warmup=12, center="target")
    compiled = torch.compile(criterion, fullgraph=True, backend=backend)
    plain = gradient_of(nn.BCEWithLogitsLoss(), logits, regions)
    shift = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([shift], 0.0)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(12):
            assert criterion.steps_done == step
            (gradient,) = torch.autograd.grad(
                compiled(prediction := logits.clone().requires_grad_(), regions, image=image), prediction
            )
            torch.testing.assert_close(gradient, plain)
            optimizer.step()
        gradient = gradient_of(compiled, logits, regions, image=image)
    eager = nn.BCEWithLogitsLoss() + make_loss(surrogate=tiny_surrogate(), center="target")
    expected = gradient_of(eager, logits, regions, image=image)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-7)
    assert not torch.allclose(gradient, plain)
