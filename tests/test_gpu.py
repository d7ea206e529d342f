"""On a GPU: the CPU's stars, losses and gradients, in mixed precision, compiled, captured, and without waiting."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import gradient_of, make_logits, make_loss, shrink, tiny_surrogate
from monai.losses import DiceLoss
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dqe_loss import DQELoss, load_surrogate, rate_segmentation, regions_from_labels
from dqe_loss.data.phantom import make_phantom

pytestmark = pytest.mark.gpu

CHECKPOINTS = ("brainlesion", "hardened")
SHAPE = (96, 98, 96)
SIDE = 98
"""Field of view that holds its planes; the refiner takes 64 or more."""
RANKS = 2
COMPILE_S = 40


@pytest.fixture(autouse=True)
def _plain_float32():
    """TensorFloat-32 has three digits: parity is of float32."""
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags


def crop(phantom, shift):
    """A box around the phantom's tumor: image (1, 4, X, Y, Z) float32 and label map (1, 1, X, Y, Z)."""
    labels = phantom.segmentations["reference"]
    center = np.argwhere(labels > 0).mean(0).astype(int) + shift
    starts = np.clip(center - np.array(SHAPE) // 2, 0, np.array(labels.shape) - SHAPE)
    box = tuple(slice(start, start + side) for start, side in zip(starts, SHAPE, strict=True))
    image = torch.from_numpy(phantom.image[(slice(None), *box)].astype(np.float32))
    return image[None], torch.from_numpy(labels[box])[None, None]


@pytest.fixture(scope="module")
def case(phantom):
    """Images, label maps, regions and mediocre logits of two boxes of the phantom, on the CPU."""
    image, labels = (torch.cat(parts) for parts in zip(*(crop(phantom, shift) for shift in (0, 9)), strict=True))
    return image, labels, regions_from_labels(labels), make_logits(labels).detach()


@pytest.fixture(scope="module", params=CHECKPOINTS)
def small(request):
    """Either checkpoint with a small field of view, on the CPU."""
    return shrink(load_surrogate(request.param), SIDE)


def on_gpu(*tensors):
    return tuple(tensor.cuda() for tensor in tensors)


def make_sum(surrogate):
    return (DiceLoss(sigmoid=True) + 0.1 * make_loss(surrogate=surrogate)).cuda()


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("thorough", [False, True])
def test_stars_are_the_cpus(case, name, thorough):
    image, labels, *_ = case
    if thorough and name == "brainlesion":
        pytest.skip("the published network has no refiner to be thorough with")
    surrogate = load_surrogate(name)
    expected = rate_segmentation(surrogate, image, labels, thorough=thorough)
    found = rate_segmentation(surrogate.cuda(), *on_gpu(image, labels), thorough=thorough)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-3)


def test_soft_stars_are_the_cpus(case, small):
    image, _, _, logits = case
    expected = rate_segmentation(small, image, logits.sigmoid(), slicing="soft")
    device_copy = shrink(small, SIDE).cuda()
    found = rate_segmentation(device_copy, *on_gpu(image, logits.sigmoid()), slicing="soft")
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-3)


def test_loss_and_gradient_are_the_cpus(case, small):
    image, _, regions, logits = case
    results = []
    for device in ("cpu", "cuda"):
        # By itself: beside Dice, the cap would hide it.
        criterion = make_loss(surrogate=shrink(small, SIDE), max_gradient_ratio=None).to(device)
        arguments = [tensor.to(device) for tensor in (logits, regions.float())]
        with torch.no_grad():
            value = criterion(*arguments, image=image.to(device))
        gradient = gradient_of(criterion, *arguments, image=image.to(device))
        results.append((value.cpu(), gradient.cpu()))
    (expected, gradient), (found, moved) = results
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert gradient.abs().max() > 0
    # Where the refiner is just sure, or a sign is just that, rounding decides of a voxel: of a few, not of many.
    differs = (moved - gradient).abs() > 1e-3 * gradient.abs().max()
    assert differs.float().mean() < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_trains_in_mixed_precision(case, small, dtype):
    image, _, regions, logits = on_gpu(*case)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 3, 1)).cuda()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    criterion = make_sum(shrink(small, SIDE))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    # From a scale that does not overflow: every step is to be taken.
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16, init_scale=2.0**8)
    values = []
    for _ in range(4):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype):
            # From a mediocre prediction: of one that says nothing, the refiner knows nothing.
            loss = criterion(network(image / 500 - 1) + logits.to(dtype), regions, image=image)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        values.append(loss.detach())
    assert torch.stack(values).isfinite().all()
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert not any(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    if dtype == torch.float16:
        assert scaler.get_scale() == 2.0**8  # no step was skipped
    assert criterion.log["gradient_ratio"] > 0


def test_a_captured_graph_gives_what_eager_gives(case, small):
    image, _, regions, logits = on_gpu(*case)
    criterion = make_sum(shrink(small, SIDE))
    fixed = torch.zeros_like(logits).requires_grad_()
    fixed.data.copy_(logits)

    def step():
        loss = criterion(fixed, regions, image=image)
        return loss, torch.autograd.grad(loss, fixed)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value, gradient = step()
    fixed.data.copy_(0.5 * logits)  # another prediction than the captured one
    graph.replay()
    captured = value.clone(), gradient.clone()
    expected = step()
    torch.testing.assert_close(captured[0], expected[0].detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(captured[1], expected[1], rtol=1e-3, atol=1e-3 * float(expected[1].abs().max()))


@pytest.mark.parametrize("as_labels", [False, True])
def test_a_step_waits_for_nothing(case, small, as_labels):
    image, labels, regions, logits = on_gpu(*case)
    # Which exams can be rated is decided on the device; a label map is no target for Dice, so the term stands alone.
    term = DQELoss(shrink(small, SIDE), on_small="skip", max_gradient_ratio=None if as_labels else 0.3)
    target, criterion = (labels, term.cuda()) if as_labels else (regions, (DiceLoss(sigmoid=True) + 0.1 * term).cuda())
    logits.requires_grad_()
    for _ in range(2):  # values are looked at in the first call
        criterion(logits, target, image=image).backward()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        criterion(logits, target, image=image).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_step_in_place_waits_for_nothing(case, small):
    image, _, regions, logits = on_gpu(*case)
    criterion = make_sum(shrink(small, SIDE))
    patch = logits[:, :, 8:88, 9:89, 8:88].contiguous().requires_grad_()
    for origin in ((8, 9, 8), [(8, 9, 8)] * 2):  # values are looked at in the first call
        criterion(patch, regions, image=image, origin=origin).backward()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        criterion(patch, regions, image=image, origin=(8, 9, 8)).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("thorough", [False, True])
def test_rating_waits_for_nothing(case, thorough):
    image, labels, *_ = on_gpu(*case)
    surrogate = shrink(load_surrogate("hardened"), SIDE).cuda()
    rate_segmentation(surrogate, image, labels, thorough=thorough)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        rate_segmentation(surrogate, image, labels, thorough=thorough)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def work(rank: int, folder: str) -> None:
    torch.cuda.set_device(0)
    torch.distributed.init_process_group(
        "gloo", init_method=(Path(folder) / "rendezvous").as_uri(), rank=rank, world_size=RANKS
    )
    try:
        torch.manual_seed(0)
        model = DistributedDataParallel(nn.Conv3d(4, 3, 3, padding=1).cuda())
        criterion = make_sum(shrink(load_surrogate("hardened"), SIDE))
        image, labels = crop(make_phantom(), 9 * rank)
        image, target = on_gpu(image, regions_from_labels(labels).float())
        loss = criterion(model(image / 500 - 1), target, image=image)
        loss.backward()
        gradients = [parameter.grad.cpu() for parameter in model.parameters()]
        torch.save({"loss": loss.item(), "gradients": gradients}, Path(folder) / f"{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def test_two_processes_share_a_device_and_agree(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=RANKS)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(RANKS))
    assert first["loss"] != second["loss"]  # each its own exam
    for one, other in zip(first["gradients"], second["gradients"], strict=True):
        assert one.abs().max() > 0
        assert torch.equal(one, other)


def compare_compiled(case, backend, surrogate, **options):
    image, _, regions, logits = on_gpu(*case)
    torch._dynamo.reset()
    criterion, twin = (
        (nn.BCEWithLogitsLoss() + 0.1 * make_loss(surrogate=surrogate, **options)).cuda() for _ in range(2)
    )  # MONAI's Dice breaks the graph by itself
    compiled = torch.compile(twin, fullgraph=True, backend=backend)
    found, expected = (gradient_of(one, logits, regions.float(), image=image) for one in (compiled, criterion))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_compiles_without_graph_breaks(case):
    """The tracer finds breaks, whatever comes after."""
    compare_compiled(case, "eager", shrink(load_surrogate("hardened"), SIDE))


def test_what_inductor_compiles_gives_what_eager_gives(case):
    """With a network that is compiled soon, and within a limit: what comes after it has its turn, too."""

    def stop(*_):
        pytest.fail(f"Inductor took longer than {COMPILE_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(COMPILE_S)
    try:
        compare_compiled(case, "inductor", tiny_surrogate(), center="target")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
