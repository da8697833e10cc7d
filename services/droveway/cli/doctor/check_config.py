"""The configuration: that its file can be read, and that all processes hold the same one."""

import shlex
from collections.abc import Iterator

from droveway.cli.doctor.evidence import Evidence, file_versions, known, ours, versions_of
from droveway.cli.doctor.finding import Finding, named, note, runbook, warning
from droveway.runtime.config.entries import Standing


def check_file(evidence: Evidence) -> Iterator[Finding]:
    """That this machine's file can be read, and whether it is in force."""
    file = evidence.file
    if file.problem:
        first, *further = file.problem.splitlines()
        more = f" (and {len(further)} more)" if further else ""
        text = f"{first}{more}; services keep the last good one, and wouldn't start with this"
        advice = f"`droveway config check {shlex.quote(file.path)}`; {runbook('ConfigRejected')}"
        yield warning("config_unreadable", text, advice)
    if file.config is None:
        return
    own, standing = file_versions(file.config), evidence.applied
    if isinstance(standing, Standing) and standing.applied is not None:
        applied = standing.applied
        if applied.version not in own:
            text = (
                f"{file.path} isn't in force: revision {standing.revision} is, "
                f"applied by {applied.by}"
            )
            yield note(
                "config_file_shadowed", text, _DIFF.format(shlex.quote(file.path)), applied.at
            )
        return
    told = versions_of(known(evidence.services))
    if told and not told & own:
        text = f"{file.path} isn't what services hold: it is another file, or was refused"
        yield note("config_file_elsewhere", text, f"look for config_reload_failed; {_RUNBOOK}")


def check_adoption(evidence: Evidence) -> Iterator[Finding]:
    """That all processes hold what was applied; or, of their files, the same."""
    standing = evidence.applied
    if not isinstance(standing, Standing):
        return
    if standing.unreadable:
        text = f"the applied configuration can't be read: {standing.unreadable}"
        yield warning("config_unreadable", text, "`droveway config rollback`, or apply another one")
        return
    holders: dict[str, list[str]] = {}
    for one in ours(known(evidence.services)):
        if version := one.metadata.get("config"):
            holders.setdefault(version, []).append(one.id)
    if standing.applied is not None:
        late = {
            version: ids for version, ids in holders.items() if version != standing.applied.version
        }
        if late:
            ids = [one for each in late.values() for one in each]
            text = f"revision {standing.revision} isn't in force in {named(ids)}"
            yield warning("config_not_adopted", text, _LOOK_AGAIN, standing.applied.at)
    elif len(holders) > 1:
        text = "; ".join(f"{version}: {named(ids, 3)}" for version, ids in holders.items())
        yield warning(
            "config_mixed", f"configurations differ between processes: {text}", _LOOK_AGAIN
        )


_RUNBOOK = runbook("ConfigRejected")
_DIFF = (
    "`droveway config diff {0}` shows what differs, `droveway config apply {0}` puts it in force"
)
_LOOK_AGAIN = f"look again in a second; else their logs say why they refused it; {_RUNBOOK}"
