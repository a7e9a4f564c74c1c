"""The page: the first screen and the chapters, drawn by the template beside this file."""

from pathlib import Path
from typing import Any

import jinja2

from dnalm.report import charts, words
from dnalm.report.answer import answer, headline_chart, language_model_answer, overview
from dnalm.report.classification import classification_section
from dnalm.report.data import data_section
from dnalm.report.exploring import exploring_section
from dnalm.report.language_model import language_model_section
from dnalm.report.methods import methods_section
from dnalm.report.resources import resources_section
from dnalm.report.run import Run
from dnalm.report.study import study_section

# Beside this file, so that it counts as code of the report.
TEMPLATE = "report.html.j2"


def chapters_of(run: Run) -> list[dict[str, Any]]:
    """Everything below the first screen, without chapters that have nothing to say."""
    chapters = [
        *([study_section(run.study)] if run.study else []),
        classification_section(run),
        language_model_section(run),
        exploring_section(run),
        data_section(run),
        resources_section(run),
        methods_section(run),
    ]
    return [chapter for chapter in chapters if chapter["parts"]]


def figure_files(run: Run, chapters: list[dict[str, Any]]) -> dict[str, str]:
    """Every figure as an SVG file: `<task or model>.<what it shows>.svg` and its content."""
    svgs = {f"{task}.{run.headline(task).problem.headline}": headline_chart(run, task) for task in run.tasks}
    for chapter in chapters:
        for part in chapter["parts"]:
            if part["kind"] == "figures":
                svgs |= {figure["file"]: figure["svg"] for figure in part["rows"]}
    return {f"{name}.svg": charts.standalone(svg) for name, svg in svgs.items()}


def render(run: Run, chapters: list[dict[str, Any]]) -> str:
    """The HTML page. Everything that comes from a file is escaped by the template engine."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    answers = [answer(run, task) for task in run.tasks]
    if not answers and run.language_models:
        answers = [language_model_answer(run)]
    page = {
        "title": run.title,
        "simulated": run.simulated,
        "real_tasks": words.listing(run.real_tasks) if run.simulation else "",
        "overview": overview(run),
        "answers": answers,
        "sections": chapters,
        "chart_style": charts.STYLE,
    }
    return environment.get_template(TEMPLATE).render(r=page)
