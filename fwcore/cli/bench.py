"""fwcore bench."""

from __future__ import annotations

from typing import Any

import click

from fwcore.cli import options
from fwcore.cli.app import app


@app.command()
@click.option("--baseline", type=click.Path(), metavar="FILE", help="An earlier run's JSON lines.")
@click.option("--against", metavar="PYTHON",
              help="The Python of another build, measured in turn with this one.")  # fmt: skip
@click.option("--guard", "guarded", is_flag=True,
              help="With --against: hit, miss, set-up and evict, in a minute or so; 4 when one is"
                   " slower by 7.5 %.")  # fmt: skip
@click.option("--history", type=click.Path(), metavar="DIR",
              help="Keep this run there, and draw the course of each figure over commits; 4 when"
                   " one became slower.")  # fmt: skip
@click.option("--fail-over", metavar="SHARE", default=None,
              help="Exit with 4 when slower by more, like 20%.")  # fmt: skip
@click.option("--markdown", type=click.Path(), metavar="FILE",
              help="A summary for a job's page.")  # fmt: skip
@click.option("--junit", type=click.Path(), metavar="FILE",
              help="The same as JUnit XML, a case a benchmark.")  # fmt: skip
@click.option("--only", multiple=True, metavar="NAME,...",
              help="Only these benchmarks.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(1), metavar="N", help="Runs of each.")
@click.option("--quick", is_flag=True,
              help="Small sizes, one run each, a case of each kind: some 15 s in all.")  # fmt: skip
@options.JSON
def bench(**given: Any) -> int:
    """How fast the data plane is on this machine, one JSON line a benchmark.

    Benchmarks: read, parse, hit-1000, hit-65536, hit-1000000, miss-1000, miss-65536, miss-1000000,
    everything-1000, everything-65536, everything-1000000, ipv6-1000, ipv6-1000000, mix-1000,
    mix-1000000, slow-1000, slow-1000000, slow-expiring, setup-8, setup-1000, evict-bucket,
    evict-replace-oldest, evict-tension, tension-pass, transition, crossings, share, police-1,
    police-host-65536, tbf, priority-6, htb-8, htb-64, htb-1000, fq-1024, import, start,
    command-1000, two-cores-1000, command-1000000, two-cores-1000000, calls-1, calls-32,
    calls-4096, outputs, bytes-per-connection, imix-file.

    \b
    fwcore bench --json baseline.jsonl
    fwcore bench --baseline baseline.jsonl --fail-over 20%
    fwcore bench --against before/bin/python --guard
    """
    from fwcore import bench as module

    return module.run(**given)
