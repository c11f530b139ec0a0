"""The command line. Only what a command needs is imported, so that ``list`` and ``--help`` answer at once.

Exit codes: 0 all went well; 1 a cell failed or a check found something; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Sequence

from bench import __version__
from bench.commands.terminal import prepare_streams
from bench.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    prepare_streams()
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    if not hasattr(options, "command"):
        make_parser().print_help()
        return EXIT_USAGE
    command = importlib.import_module(f"bench.commands.{options.command}")
    try:
        return int(command.main(options))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # the reader of our output has gone, as in `python -m bench list | head`
        sys.stderr.close()
        return EXIT_OK


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; a file given with ``--config`` is read as options that stand before them."""
    options = make_parser().parse_args(arguments)
    if getattr(options, "config", None):
        from bench.commands.config import arguments_of

        options = make_parser().parse_args([*arguments_of(options.config, arguments), *arguments[1:]])
    return options


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="A benchmark of identifiable representation learning: which learner recovers the true latent "
        "factors, up to what, at what cost?",
    )
    parser.add_argument("--version", action="version", version=f"identifiability-bench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    run = commands.add_parser("run", help="run learners on datasets; resumes where an earlier run stopped")
    run.add_argument("--all", action="store_true", help="every learner on every dataset")
    run.add_argument("--learners", type=_names, metavar="A,B", help="learners; patterns such as '*ivae*' are allowed")
    run.add_argument("--datasets", type=_names, metavar="A,B", help="datasets; patterns are allowed")
    run.add_argument("--seeds", metavar="0-4", help="repetitions (default: 0-2; smoke 0; paper 0-4)")
    run.add_argument("--data-seed", type=int, metavar="S", help="fix the data; the repetitions vary the model alone")
    run.add_argument("--budget", default="standard", help="smoke, standard (default) or paper: data sizes and training")
    run.add_argument(
        "--effort",
        default="1",
        metavar="1/4,1,4",
        help="training length in multiples of the learner's own (default: 1)",
    )
    run.add_argument(
        "--until-converged", action="store_true", help="of several efforts, run the longer ones where a shorter has not"
    )
    run.add_argument("--set", action="append", default=[], metavar="NAME.PARAM=VALUE", dest="settings")
    run.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="DATA[.PARAM[=1,2,3]]",
        help="values of a dataset's parameter, one after the other; left out: those the dataset declares",
    )
    run.add_argument("--shard", metavar="I/N", help="part I (from 0) of N of the cells, for one of N machines")
    run.add_argument(
        "--judge",
        nargs="?",
        const="",
        metavar="SALT",
        help="data seeds no learner can guess; SALT repeats a judged run",
    )
    run.add_argument("--data", action="append", default=[], metavar="FILE", help="your own data: npz, csv or parquet")
    run.add_argument("--columns", metavar="LINE", help="columns of own csv data: 'x=f* y=t1,t2 task=assay z=z*'")
    run.add_argument("--latents", type=_positive, metavar="D", help="latent factors to recover in own data without z")
    run.add_argument("--config", metavar="FILE", help="a TOML file with these options; the command line wins")
    run.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")
    _add_execution(run)
    _add_common(run)
    run.set_defaults(command="run")

    show = commands.add_parser("show", help="the scores of stored records: learner by dataset, with intervals")
    show.add_argument("--dataset", type=_names, metavar="D,E", help="these datasets alone; patterns are allowed")
    show.add_argument("--by", metavar="SCORE", help="this score, such as mcc, linear_r2, consistency or a plugin's")
    show.add_argument("--with", choices=["published"], dest="with_published", help="published records beside yours")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="machine-readable")
    form.add_argument("--csv", action="store_true", help="machine-readable")
    _add_common(show)
    show.set_defaults(command="show")

    score = commands.add_parser("score", help="every metric on codes made elsewhere, with chance level and interval")
    score.add_argument("file", metavar="FILE", help="npz with codes and z, or codes_train, z_train, codes_test, z_test")
    score.add_argument("--full", action="store_true", help="also the expensive metrics")
    score.add_argument("--json", action="store_true", help="machine-readable")
    score.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a Python file with a metric")
    score.set_defaults(command="score")

    new = commands.add_parser("new", help="write the skeleton of a learner, dataset or metric, which passes check")
    new.add_argument("kind", choices=["learner", "dataset", "metric"])
    new.add_argument("name", metavar="NAME", help="lower case with dashes, such as my-learner")
    new.add_argument("--to", metavar="FILE", help="where to write (default: NAME.py, dashes as underscores)")
    new.set_defaults(command="new")

    listing = commands.add_parser("list", help="learners, datasets and metrics, or all about one of them")
    listing.add_argument("name", nargs="?", metavar="NAME", help="this one: parameters, assumptions, where it applies")
    listing.add_argument("--json", action="store_true", help="machine-readable")
    listing.add_argument("--kinds", action="store_true", help="which learner takes which kind of input")
    listing.add_argument("--plugin", action="append", default=[], metavar="FILE")
    listing.set_defaults(command="list")

    status = commands.add_parser("status", help="what is planned, done and failed, with reasons")
    status.add_argument("--out", default="results", metavar="DIR")
    status.set_defaults(command="status")

    report = commands.add_parser(
        "report", help="write the leaderboard from the stored records: HTML, markdown, pictures"
    )
    report.add_argument("--out", default="results", metavar="DIR", help="results folder or a records.jsonl file")
    report.add_argument("--to", metavar="DIR", help="where to write (default: report, inside the results folder)")
    report.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a Python file with a plugin")
    report.set_defaults(command="report")

    compare = commands.add_parser("compare", help="two learners on the same cells: difference, interval, P(A better)")
    compare.add_argument("a", metavar="A", help="a learner, or a row as the leaderboard names it")
    compare.add_argument("b", metavar="B", help="the other")
    compare.add_argument("--metric", metavar="NAME", help="compare by this score (default: what each is judged by)")
    compare.add_argument("--out", default="results", metavar="DIR", help="results folder or a records.jsonl file")
    compare.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a Python file with a plugin")
    compare.set_defaults(command="compare")

    reproduce = commands.add_parser("reproduce", help="each learner on its own paper's setting, against its number")
    reproduce.add_argument("--learner", metavar="NAME", help="this learner alone")
    reproduce.add_argument(
        "--seeds", metavar="0-4", help="these seeds alone; nothing is judged before all five are run"
    )
    reproduce.add_argument("--quick", action="store_true", help="small sizes, to see that it works; nothing is judged")
    reproduce.add_argument("--to", metavar="DIR", help="write reproduction.md and .jsonl there (default: print only)")
    _add_execution(reproduce)
    _add_common(reproduce)
    reproduce.set_defaults(command="reproduce", budget="paper")

    audit = commands.add_parser("audit", help="run a random sample of published cells again: do they come out alike?")
    audit.add_argument("--sample", type=_positive, default=20, metavar="N", help="cells to draw (default: 20)")
    audit.add_argument("--seed", type=int, default=0, metavar="S", help="of the draw (default: 0)")
    audit.add_argument("--learners", type=_names, metavar="A,B", help="of these alone; patterns are allowed")
    audit.add_argument("--datasets", type=_names, metavar="A,B", help="on these alone; patterns are allowed")
    audit.add_argument("--within", type=_seconds, metavar="SECONDS", help="only cells that took at most so much CPU")
    audit.add_argument(
        "--tolerance", type=_difference, default=0.02, metavar="X", help="that scores may differ by (default: 0.02)"
    )
    audit.add_argument("--to", metavar="DIR", help="write audit.md there (default: print only)")
    audit.add_argument("--records", metavar="FILE", help="other records than the published: a .jsonl or results folder")
    _add_execution(audit)
    _add_common(audit)
    audit.set_defaults(command="audit", budget="standard", out="audit")

    merge = commands.add_parser("merge", help="put results folders together, such as the shards of one plan")
    merge.add_argument("folders", nargs="+", metavar="DIR", help="results folders")
    merge.add_argument("--out", required=True, metavar="DIR", help="where they are put together; may hold results")
    merge.set_defaults(command="merge")

    export = commands.add_parser("export", help="the records as one table: CSV or parquet")
    export.add_argument("--out", default="results", metavar="DIR", help="results folder or a records.jsonl file")
    export.add_argument("--to", required=True, metavar="FILE", help="a .csv or .parquet file")
    export.set_defaults(command="export")

    check = commands.add_parser("check", help="does a plugin keep the contract?")
    check.add_argument("names", nargs="*", metavar="FILE|NAME", help="plugin files, or names of what is installed")
    check.add_argument("--timeout", type=_seconds, default=300.0, metavar="SECONDS", help="of one plugin (300)")
    check.set_defaults(command="check")

    metrics = commands.add_parser("metrics", help="what every metric answers on codes whose quality is known")
    metrics.set_defaults(command="metrics")

    data = commands.add_parser("data", help="real data: what is here, download, verify")
    data.add_argument("action", choices=["list", "fetch", "verify"])
    data.add_argument("names", nargs="*", metavar="NAME")
    data.set_defaults(command="data")
    return parser


def _add_execution(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=_positive, metavar="N", help="cells at a time (default: one a core; 1 on a GPU)")
    parser.add_argument("--threads", type=_positive, default=1, metavar="N", help="threads of each cell (default: 1)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where learners run")
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="limit of one cell (default: by budget)")
    parser.add_argument(
        "--memory-limit", type=_mebibytes, default=8192, metavar="MIB", help="of one cell (default: 8192)"
    )
    parser.add_argument(
        "--no-share", action="store_false", dest="share", help="a process and a fit of its own for every model seed"
    )
    parser.add_argument("--executor", default="local", choices=["local", "ray"], help="this machine, or a Ray cluster")
    parser.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster (default: one is started here)")
    parser.add_argument("--fresh", action="store_true", help="run cells again that are done")
    parser.add_argument("--keep-codes", action="store_true", help="store all codes: later metrics need no new fit")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="results", metavar="DIR", help="results folder (default: results)")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a Python file with a plugin")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    return _above_zero(text, "seconds")


def _mebibytes(text: str) -> float:
    return _above_zero(text, "MiB")


def _difference(text: str) -> float:
    return _above_zero(text, "score")


def _above_zero(text: str, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of {unit} above 0")
    return value
