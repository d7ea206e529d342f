"""The figures in README and pages are those that the benchmarks stored: ``python docs/generate`` writes them."""

import importlib.util
import sys

import pytest
from pages import ROOT


@pytest.fixture(scope="module")
def generator():
    folder = ROOT / "docs" / "generate"
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("generate_figures", folder / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(folder))


def test_pages_say_what_is_stored(generator, capsys):
    assert generator.main(["--check"]) == 0, f"run python docs/generate: {capsys.readouterr().out}"


def test_a_typed_figure_is_replaced_and_a_wrong_name_is_an_error(generator):
    page = "Dice r = <!--=hardening.r-->0.99<!--/-->"
    stored = generator.SOURCES["hardening"]()["r"]
    assert generator.generate(page, "page") == f"Dice r = <!--=hardening.r-->{stored}<!--/-->" != page
    with pytest.raises(
        ValueError, match=r"page: expected a figure that is known, found hardening\.rr; there are exams, "
    ):
        generator.generate("<!--=hardening.rr--><!--/-->", "page")
    with pytest.raises(ValueError, match="begins a line"):
        generator.generate("- <!--=hardening.r--><!--/--> is r", "page")


def test_a_table_stands_in_lines_of_its_own(generator):
    written = generator.generate("Text\n\n<!--=patches.table--><!--/-->\n", "page")
    assert "-->\n\n| crop |" in written
    assert written.endswith(" |\n\n<!--/-->\n")
    assert generator.generate(written, "page") == written


def test_numbers(generator):
    number = generator.safety.number
    assert [number(0.125), number(-0.5, 1), number(-0.001), number(None), number(0.3, sign=True)] == [
        "0.12",
        "−0.5",
        "0.00",
        "–",
        "+0.30",
    ]


def test_every_figure_is_used(generator):
    used = {
        found for page in generator.pages() for found in generator._FIGURE.findall(page.read_text(encoding="utf-8"))
    }
    names = {(source, key) for source, key, _ in used}
    made = {(source, key) for source, figures in generator.SOURCES.items() for key in figures()}
    assert made - names == set()
