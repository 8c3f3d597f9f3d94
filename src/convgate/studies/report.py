"""Writing a study's report: the page, the Markdown, the picture and the tables."""

from convgate.storage import write_text
from convgate.studies.line_pictures import write_curves, write_sweeps
from convgate.studies.markdown import render_markdown
from convgate.studies.page import render_page
from convgate.studies.picture import write_picture
from convgate.studies.result import StudyResult, write_tables


def write_report(result: StudyResult, stamp: int) -> None:
    """Write report.html, report.md, the pictures, results.csv and summary.json.

    The pictures are accuracy_latency, curves, and one named after each option that is swept;
    each as SVG and PNG.

    Args:
        result: The study.
        stamp: What the report covers; the last file written carries it.
    """
    pictures = {
        "accuracy over latency": write_picture(result),
        "accuracy over an option": write_sweeps(result),
        "accuracy while training": write_curves(result),
    }
    write_text(result.out / "report.md", render_markdown(result, pictures))
    write_text(result.out / "report.html", render_page(result))
    write_tables(result, stamp)
