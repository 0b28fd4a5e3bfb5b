"""What a batch takes of what it is given, the names of its results, and its table."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path, PurePosixPath

import pytest

from engine.batch.gather import Gathered, Scan, gather
from engine.batch.naming import Namer, check_template, suffix_for
from engine.batch.plan import Plan
from engine.batch.rows import Outcome, State
from engine.batch.table import JobTable
from engine.errors import EngineError, ReadError, SettingsError, WriteError

ROOT = Path(__file__).parents[2]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def taken(inputs: list[Path], output: Path | None = None) -> tuple[list[str], dict[str, int]]:
    left_out = Gathered()
    return [str(scan.relative) for scan in gather(inputs, output, left_out)], dict(left_out.ignored)


# -- files and folders ------------------------------------------------------------------------------------------------


def test_folders_are_read_to_the_bottom_and_junk_is_counted(tmp_path: Path) -> None:
    box = tmp_path / "box"
    touch(box / "b.tif", box / "a.PNG", box / "1910" / "may" / "c.jpg", box / "notes.txt", box / "Thumbs.db")
    touch(box / "._a.PNG", box / ".DS_Store", box / "__MACOSX" / "d.tif", box / "e.tif", box / "e.tif.record.json")
    names, ignored = taken([box])
    assert names == ["a.PNG", "b.tif", "1910/may/c.jpg"]
    assert ignored == {"no picture": 1, "junk": 3, "output": 2}


def test_several_folders_keep_their_names_apart(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "box" / "a.tif", tmp_path / "y" / "box" / "a.tif", tmp_path / "z" / "a.tif")
    inputs = [tmp_path / "x" / "box", tmp_path / "y" / "box", tmp_path / "z", tmp_path / "z" / "a.tif"]
    names, ignored = taken(inputs)
    assert names == ["box/a.tif", "box (2)/a.tif", "z/a.tif"]
    assert ignored == {"twice": 1}


def test_a_folder_given_from_below_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "box" / "a.tif", tmp_path / "other" / "b.tif")
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    touch(tmp_path / "elsewhere" / "c.tif")
    monkeypatch.chdir(tmp_path / "other")
    assert taken([Path("../box"), Path("../other")])[0] == ["box/a.tif", "other/b.tif"]
    # What the system finds at a path through a link is not what the letters of the path say.
    assert taken([tmp_path / "link" / ".." / "c.tif"])[0] == ["c.tif"]


def test_a_link_that_leads_back_is_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "box" / "in" / "a.tif")
    (tmp_path / "box" / "in" / "back").symlink_to(tmp_path / "box")
    names, _ = taken([tmp_path / "box"])
    assert names == ["in/a.tif"]


def test_the_output_folder_is_left_out_below_an_input(tmp_path: Path) -> None:
    touch(tmp_path / "box" / "a.tif", tmp_path / "box" / "out" / "a.tif")
    names, ignored = taken([tmp_path / "box"], tmp_path / "box" / "out")
    assert names == ["a.tif"]
    assert ignored == {"output": 1}
    # A file that is named is wanted, wherever it is.
    assert taken([tmp_path / "box" / "out" / "a.tif"], tmp_path / "box" / "out")[0] == ["a.tif"]


def test_an_input_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"missing\.tif cannot be taken: it does not exist"):
        taken([tmp_path / "missing.tif"])


def test_names_that_are_no_text_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"b\xffd.tif")
    touch(tmp_path / name)
    with JobTable(tmp_path / "table") as table:
        left_out = Gathered()
        table.list_scans(PLAN, "f", gather([tmp_path / name], None, left_out), left_out, tmp_path)
        assert [row.path.name for row in table.rows()] == [name]
        assert [row.output for row in table.rows()] == [name]


# -- names of results -------------------------------------------------------------------------------------------------


def namer(template: str = "{name}", suffix: str = "") -> Namer:
    return Namer(template, "gentle", suffix, date(2026, 5, 1))


def test_a_template_is_filled_in() -> None:
    words = namer("{parent}/{n:0000}-{name}-{recipe}-{date}", ".tif")
    assert words.name(PurePosixPath("box/1910/a.jpg"), 7) == ("box/1910/1910/0007-a-gentle-2026-05-01.tif", False)


@pytest.mark.parametrize(
    "template", ["{nme}", "{name", "a", "", "../{name}", "/{name}", "{name}?", "{n:4}", "{name}\\x"]
)
def test_templates_that_cannot_give_names_are_refused(template: str) -> None:
    with pytest.raises(SettingsError, match="cannot be used: "):
        check_template(template)


def test_two_scans_never_get_one_result() -> None:
    names = namer()
    given = ["a.tif", "a.jpg", "A.TIF", "a.JPG", "a\u0301.tif", "\u00e1.tif"]
    results = [names.name(PurePosixPath(name), 1) for name in given]
    assert [name for name, _ in results[:2]] == ["a.tif", "a-jpg.tif"]
    assert [renamed for _, renamed in results] == [False, True, True, True, False, True]
    assert len({name.casefold() for name, _ in results}) == len(given)


def test_a_format_that_loses_is_not_chosen_by_itself() -> None:
    kept = {"a.tif": ".tif", "a.PNG": ".PNG", "a.jpg": ".tif", "a.webp": ".tif", "a.bmp": ".tif", "scan": ".tif"}
    assert {name: suffix_for(name, "") for name in kept} == kept
    assert suffix_for("a.tif", ".jpg") == ".jpg"


# -- the table --------------------------------------------------------------------------------------------------------

PLAN = Plan("mine", "")


def scans(folder: Path, *names: str) -> list[Scan]:
    return [Scan(folder / name, PurePosixPath(name), folder, 1, 1) for name in names]


def list_scans(table: JobTable, folder: Path, *names: str, plan: Plan = PLAN, fingerprint: str = "f") -> None:
    table.list_scans(plan, fingerprint, scans(folder, *names), Gathered(), folder)


def finish(table: JobTable, folder: Path) -> str:
    """Do the next scan; returns the name of its result."""
    row = table.take()
    assert row is not None
    (folder / row.output).write_bytes(b"result")
    status = (folder / row.output).stat()
    done = Outcome(State.DONE, output_size=status.st_size, output_modified=status.st_mtime_ns)
    table.finish(row.id, done, "f")
    return row.output


def states(table: JobTable) -> list[str]:
    return [row.state.value for row in table.rows()]


def test_an_interrupted_run_goes_on_and_an_ended_one_is_up_to_date(tmp_path: Path) -> None:
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif", "b.tif", "c.tif")
        finish(table, tmp_path)
        assert table.take() is not None
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif", "b.tif", "c.tif")
        assert states(table) == ["done", "pending", "pending"]
        finish(table, tmp_path)
        finish(table, tmp_path)
        assert table.take() is None
        table.end_run()
        list_scans(table, tmp_path, "a.tif", "b.tif", "c.tif")
        assert states(table) == ["up_to_date"] * 3


def test_what_has_changed_is_done_again(tmp_path: Path) -> None:
    with JobTable(tmp_path / "table") as table:
        names = ["a.tif", "b.tif", "c.tif"]
        list_scans(table, tmp_path, *names)
        for _ in names:
            finish(table, tmp_path)
        table.end_run()
        (tmp_path / "b.tif").write_bytes(b"changed by somebody")
        (tmp_path / "c.tif").unlink()
        list_scans(table, tmp_path, *names)
        assert states(table) == ["up_to_date", "pending", "pending"]
        list_scans(table, tmp_path, *names, fingerprint="another recipe")
        assert states(table) == ["pending"] * 3


def test_replace_does_everything_again_but_only_once(tmp_path: Path) -> None:
    plan = Plan("mine", "", exists="replace")
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif", plan=plan)
        finish(table, tmp_path)
        list_scans(table, tmp_path, "a.tif", plan=plan)
        assert states(table) == ["done"]
        table.end_run()
        list_scans(table, tmp_path, "a.tif", plan=plan)
        assert states(table) == ["pending"]


def test_a_run_counts_only_what_it_was_given(tmp_path: Path) -> None:
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif", "b.tif")
        finish(table, tmp_path)
        table.end_run()
        list_scans(table, tmp_path, "b.tif", "c.tif")
        assert [row.relative for row in table.rows()] == ["b.tif", "c.tif"]
        assert table.counts()[State.PENDING] == 2


def test_other_names_are_other_results(tmp_path: Path) -> None:
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif")
        finish(table, tmp_path)
        table.end_run()
        list_scans(table, tmp_path, "a.tif", plan=Plan("mine", "", template="{name}-x"))
        assert [(row.output, row.state) for row in table.rows()] == [("a-x.tif", State.PENDING)]


def test_a_list_gets_other_names_as_if_it_were_new_and_loses_nothing_when_that_is_broken_off(tmp_path: Path) -> None:
    given, png = scans(tmp_path, "a.tif", "b.png", "b.tif"), dataclasses.replace(PLAN, suffix=".png")

    def broken_off() -> Iterator[Scan]:
        yield given[0]
        raise KeyboardInterrupt

    with JobTable(tmp_path / "t") as table:
        list_scans(table, tmp_path, "a.tif", "b.png", "b.tif")
        with pytest.raises(KeyboardInterrupt):
            table.list_scans(png, "g", broken_off(), Gathered(), tmp_path, same_run=True)
        assert len(list(table.rows())) == 3
        table.list_scans(png, "g", given, Gathered(), tmp_path, same_run=True)
        assert [row.output for row in table.rows()] == ["a.png", "b.png", "b-tif.png"]
        # Back again: the name that a result had until now is no other result's.
        list_scans(table, tmp_path, "a.tif", "b.png", "b.tif")
        assert [row.output for row in table.rows()] == ["a.tif", "b.png", "b.tif"]
        table.list_scans(png, "g", given, Gathered(), tmp_path, same_run=True)
        assert [row.output for row in table.rows()] == ["a.png", "b.png", "b-tif.png"]
        # What a person took out comes back when a person adds it again.
        table.remove([1])
        table.list_scans(png, "g", given, Gathered(), tmp_path, same_run=True)
        assert len(list(table.rows())) == 2
        table.list_scans(png, "g", given, Gathered(), tmp_path, same_run=True, added=True)
        assert len(list(table.rows())) == 3


def test_a_look_at_a_folder_in_which_nothing_has_changed_writes_nothing(tmp_path: Path) -> None:
    """It is looked at every other second, and the table may have hundreds of thousands of rows."""
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif", "b.tif")
        finish(table, tmp_path)
        written = table._rows.total_changes
        table.list_scans(PLAN, "f", scans(tmp_path, "a.tif", "b.tif"), Gathered(), tmp_path, same_run=True)
        assert table._rows.total_changes == written
        # A new run leaves out what it is not given.
        table.list_scans(PLAN, "f", scans(tmp_path, "b.tif", "c.tif"), Gathered(), tmp_path, same_run=True)
        list_scans(table, tmp_path, "a.tif", "c.tif")
        assert [row.relative for row in table.rows()] == ["a.tif", "c.tif"]


def test_a_folder_can_have_a_name_before_the_paths_of_its_scans(tmp_path: Path) -> None:
    touch(tmp_path / "box" / "a.tif")
    found = gather([tmp_path / "box"], None, Gathered(), "", {tmp_path / "box": "box (2)"})
    assert [str(scan.relative) for scan in found] == ["box (2)/a.tif"]


def test_a_table_is_held_by_one_process_which_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table"
    code = (
        "import sys\nfrom pathlib import Path\nfrom engine.batch.table import JobTable\n"
        "with JobTable(Path(sys.argv[1])) as table, table.held():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other, JobTable(path) as table:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(WriteError, match=f"is being worked on by process {other.pid} on "), table.held():
            pass
        # The system takes the lock away with the process.
        other.kill()
        other.wait()
        with table.held():
            list_scans(table, tmp_path, "a.tif")


def test_a_scan_is_known_by_another_case_of_its_name_where_that_is_the_same_file(tmp_path: Path) -> None:
    """A second name of the file is what a disk that ignores case does with ``a.png``."""
    touch(tmp_path / "A.png", tmp_path / "B.png", tmp_path / "b.png")
    (tmp_path / "a.png").hardlink_to(tmp_path / "A.png")
    (tmp_path / "c.png").hardlink_to(tmp_path / "A.png")
    names = ("A.png", "a.png", "b.png", "B.png", "c.png", "d.png")
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "A.png", "B.png")
        assert [table.is_scan(tmp_path / name) for name in names] == [True, True, False, True, False, False]
    # So in a table of before, which did not have these names.
    with closing(sqlite3.connect(tmp_path / "table")) as rows:
        rows.executescript("DROP INDEX by_plain_path; ALTER TABLE scans DROP COLUMN plain_path; PRAGMA user_version=1")
    with JobTable(tmp_path / "table") as table:
        assert [table.is_scan(tmp_path / name) for name in names] == [True, True, False, True, False, False]


def test_tables_of_newer_versions_and_other_files_are_refused(tmp_path: Path) -> None:
    newer, other, text = tmp_path / "newer", tmp_path / "other", tmp_path / "text"
    JobTable(newer).close()
    with sqlite3.connect(newer) as rows:
        rows.execute("PRAGMA user_version=99")
    rows.close()
    with sqlite3.connect(other) as rows:
        rows.execute("CREATE TABLE birds (name TEXT)")
    rows.close()
    text.write_text("this is no database at all, and long enough to be looked at" * 20)
    for path, said in ((newer, "newer version"), (other, "another program"), (text, "not a database")):
        before = path.read_bytes()
        with pytest.raises(EngineError, match=said):
            JobTable(path)
        assert path.read_bytes() == before
    with pytest.raises(WriteError, match="cannot be made"):
        JobTable(tmp_path / "nowhere" / "table")
