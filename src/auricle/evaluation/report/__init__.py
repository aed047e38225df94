"""One page about some runs: curves, tables, sounds that were got wrong, and what was run.

report = make_report([read_run("results/tiny"), read_run("results/silero")])
write_report(report, Path("report.html"), Path("report_files"))
"""

from auricle.evaluation.report.write import Decide, Report, Settings, check_name, make_report, write_report

__all__ = ["Decide", "Report", "Settings", "check_name", "make_report", "write_report"]
