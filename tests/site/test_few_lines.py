"""How much a user writes for the loss: every line that differs from a training with Dice alone, as the pages say."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to"
LOOP = """
import torch
from monai.losses import DiceLoss
criterion = DiceLoss(sigmoid=True)
for batch in loader:
    logits = network(batch["image"])
    loss = criterion(logits, batch["regions"])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""
PLANES = """
import torch
from monai.losses import DiceLoss
criterion = DiceLoss(sigmoid=True)
loss = criterion(plane_logits, plane_regions)
loss.backward()
"""
ENGINE = """
trainer = SupervisedTrainer(
    ...,
    loss_function=DiceLoss(sigmoid=True),
    train_handlers=[...],
)
"""
MODULE = """
from pytorch_lightning import LightningModule, Trainer
class Segmenter(LightningModule):
    def __init__(self):
        super().__init__()
        self.network = network
        self.criterion = DiceLoss(sigmoid=True)
        self.metrics = dice
    def training_step(self, batch, index):
        logits = self.network(batch["image"])
        return self.criterion(logits, batch["label"])
    def validation_step(self, batch, index):
        masks = self.network(batch["image"]) > 0
        self.metrics.update(masks, batch["label"].bool())
        self.log("dice", self.metrics)
trainer = Trainer()
"""
PLAIN = {"training-loop": (LOOP, 1), "planes": (PLANES, 1), "monai": (ENGINE, 2), "lightning": (MODULE, 1)}
"""Page to the code without the loss, and how many of its blocks of code stand for it."""


def lines_of(code):
    """Code without comments and empty lines; how deep a line is indented does not matter."""
    return Counter(line.strip() for line in code.splitlines() if line.strip() and not line.strip().startswith("#"))


def own_lines(page, plain="", blocks=1):
    code = re.findall(r"```python\n(.*?)```", (HOW_TO / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)[:blocks]
    return lines_of("".join(code)) - lines_of(plain)


def said():
    """Page to the number of lines that the table says."""
    table = (HOW_TO / "training-loop.md").read_text(encoding="utf-8").partition("| where you train | lines |")[2]
    rows = table.partition("\n\n")[0].splitlines()[2:]
    return {re.search(r"\((\S+)\.md\)", row)[1]: row.rsplit("|", 2)[1].strip() for row in rows}


@pytest.mark.parametrize("page", PLAIN)
def test_lines_are_few_and_as_many_as_the_table_says(page):
    own = own_lines(page, *PLAIN[page])
    assert any("DQELoss(" in line for line in own)
    assert len(list(own.elements())) == int(said()[page]) <= 10, "\n".join(own)


def test_nnunet_takes_none_and_a_trainer_of_ones_own_few():
    assert said()["nnunet"] == f"0, or {len(list(own_lines('nnunet').elements()))} for a trainer of your own"


def test_readme_and_pages_say_the_same():
    """In words and figures."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = re.search(r"Lines that change: (\d+) here, (\d+) in \[MONAI's engines\]\S* (\d+) in \[Lightning\]", readme)
    assert list(told.groups()) == [said()[page] for page in ("training-loop", "monai", "lightning")]
    assert "Six lines are the loss's" in (HOW_TO / "monai.md").read_text(encoding="utf-8")
    assert "Ten lines are the loss's" in (HOW_TO / "lightning.md").read_text(encoding="utf-8")
