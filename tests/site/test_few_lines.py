"""How much a user writes for the loss in MONAI's engines and in Lightning: at most ten lines, as the pages say."""

import re
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[2] / "docs/how-to"
OURS = re.compile(r"dqe_loss|DQE|DeepQuality|MetricCollection|criterion|metrics|handler|=batch\[.raw.\]")


@pytest.mark.parametrize(("page", "blocks"), [("monai", 2), ("lightning", 1)])
def test_at_most_ten_lines_are_of_the_loss(page, blocks):
    code = re.findall(r"```python\n(.*?)```", (HOW_TO / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)[:blocks]
    ours = [line for line in "".join(code).splitlines() if OURS.search(line)]
    assert any("DQELoss(" in line for line in ours)
    assert len(ours) <= 10, "\n".join(ours)
