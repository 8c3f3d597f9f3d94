"""Writing a study's report: the page, the Markdown, the picture and the tables."""

from convgate.studies.markdown import render_markdown
from convgate.studies.page import render_page
from convgate.studies.picture import write_picture
from convgate.studies.result import StudyResult, write_tables
from convgate.train.checkpoint import write_text


def write_report(result: StudyResult, stamp: int) -> None:
    """Write report.html, report.md, accuracy_latency.svg / .png, results.csv and summary.json.

    Args:
        result: The study.
        stamp: What the report covers; the last file written carries it.
    """
    pictures = write_picture(result)
    write_text(result.out / "report.md", render_markdown(result, pictures))
    write_text(result.out / "report.html", render_page(result))
    write_tables(result, stamp)
