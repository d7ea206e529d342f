"""How far a mask can be hacked: Adam on the logits against the surrogate alone, with and without defenses.

Run: ``python benchmarks/hacking.py --exam FOLDER FOLDER`` (the phantom always comes first). The loss is ``DQELoss``
and nothing else, from four starts; the stars should rise, and the overlap with the reference should not fall. All
cells are run to ``--steps``; those of ``--long`` go on to ``--long-steps``. Finished cells are kept in
``attacks.json``, and a run that was stopped goes on from there.
"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tyro
from _attack import DEFENSES, OF_REFINER, STARTS, Attack, AttackSettings, run_attack
from _attack_figure import draw_curves, draw_planes
from _attack_table import detail_table, summary_table, verdicts
from _cells import run_cells, with_checkpoint
from _options import FirstReference, MoreExams, resolved
from _references import PHANTOM, REFERENCES, exam_name


@dataclass(frozen=True)
class HackingOptions:
    """Options of the command line."""

    exam: MoreExams = ()
    reference: FirstReference = REFERENCES
    phantom: bool = True
    """Whether to attack the phantom too."""
    phantom_seed: int = 0
    """Seed of the phantom."""
    starts: tuple[str, ...] = STARTS
    """Where to start from: reference, shift, noise, empty."""
    defenses: tuple[str, ...] = DEFENSES
    """What to defend with: none, jitter, straight-through, guard, guard+jitter, unclamped, refiner, both."""
    steps: int = 60
    """Steps of every cell."""
    long_steps: int = 200
    """Steps of the cells in ``--long``; the same as ``--steps`` leaves them as the others."""
    long: tuple[str, ...] = ("reference/none", "reference/guard", "shift/guard", "empty/guard")
    """START/DEFENSE cells that go on to ``--long-steps``; "all" for all of them."""
    workers: int = max(1, os.cpu_count() or 1)
    """Processes; one on a GPU is enough. Each takes about 1.5 GiB."""
    out: Path = Path("benchmarks/results/hacking")
    """Folder for the JSON file, the tables and the pictures."""
    attack: AttackSettings = field(default_factory=lambda: AttackSettings(device=resolved("auto")))
    """What every attack depends on."""


def main(options: HackingOptions) -> None:
    """Runs the attacks that are missing, prints the tables and draws the pictures.

    Raises:
        ValueError: if a start or a defense is unknown, or there is no exam.
    """
    attacks = plan(options)
    path = options.out / "attacks.json"
    results = run_cells(
        run_attack,
        {attack.name: attack for attack in attacks},
        path=path,
        settings=with_checkpoint(asdict(options.attack)),
        steps=lambda attack: attack.steps,
        workers=options.workers,
    )
    chosen = [results[attack.name] for attack in attacks]
    tables = "\n\n".join((summary_table(chosen), verdicts(chosen), detail_table(chosen, options.steps))) + "\n"
    (options.out / "table.md").write_text(tables)
    print(tables)
    for exam in dict.fromkeys(result["exam"] for result in chosen):
        draw_curves([r for r in chosen if r["exam"] == exam], options.out / f"curves_{exam}.png")
    with_planes = [(a, r) for a, r in zip(attacks, chosen, strict=True) if a.planes is not None]
    draw_planes(with_planes, options.out / "planes.png")
    print(f"{path} and pictures in {options.out}")


def plan(options: HackingOptions) -> list[Attack]:
    """The attacks, exam by exam; the planes of the first exam are kept for the picture."""
    for name, given, known in (("start", options.starts, STARTS), ("defense", options.defenses, DEFENSES)):
        if not set(given) <= set(known):
            raise ValueError(f"unknown {name} in {given}; there are {', '.join(known)}")
    sources = [f"{PHANTOM}-{options.phantom_seed}"] if options.phantom else []
    sources += [str(folder) for folder in options.exam]
    if not sources:
        raise ValueError("no exam to attack: give --exam FOLDER, or leave the phantom on")
    attacks = []
    for source in sources:
        for start in options.starts:
            for defense in options.defenses:
                long = f"{start}/{defense}" in options.long or "all" in options.long
                # The bare 6 - rating is there to show what the clamp at six stars does; one start is enough.
                if defense == "unclamped" and start != "reference":
                    continue
                if defense in OF_REFINER and options.attack.checkpoint == "brainlesion":  # there is none
                    continue
                steps = max(options.steps, options.long_steps) if long else options.steps
                planes = None
                if source == sources[0]:
                    planes = options.out / "planes" / f"{exam_name(source)}_{start}_{defense}_{steps}.npz"
                marks = (options.steps,)
                attacks.append(Attack(source, options.reference, start, defense, steps, marks, planes, options.attack))
    return attacks


if __name__ == "__main__":
    main(tyro.cli(HackingOptions, description=__doc__))
