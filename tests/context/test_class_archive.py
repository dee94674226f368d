"""The archive of Spark's classes: whom it fits, how it is made, and that a JVM maps it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo.orca.context import class_archive_maker, class_archive_place
from zoo.orca.context.class_archive import SETTING, find_class_archive
from zoo.orca.context.class_archive_maker import failure_of, is_locked, make_archive
from zoo.orca.context.java import Java, find_java

HOTSPOT = 'openjdk version "17"\nOpenJDK 64-Bit Server VM (build 17+6, mixed mode, sharing)\n'
DAY = 86400.0


@pytest.fixture
def spark_home(tmp_path):
    home = tmp_path / "spark"
    (home / "jars").mkdir(parents=True)
    (home / "jars" / "spark-core.jar").write_bytes(b"classes")
    return home


@pytest.fixture(autouse=True)
def machine(tmp_path_factory, monkeypatch):
    """A machine that is no container, and has its files on a disk with room."""
    root = tmp_path_factory.mktemp("machine")
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "mountinfo").write_text(mounts(("/", "ext4")))
    monkeypatch.setattr(class_archive_place, "_ROOT", root)
    monkeypatch.setattr(class_archive_place, "_NEEDED_BYTES", 0)
    return root


def mounts(*found):
    """Return Linux's account of mount points and their file systems."""
    lines = (
        f"2{n} 1 254:{n} / {mount} rw,relatime shared:1 - {kind} /dev/vda{n} rw"
        for n, (mount, kind) in enumerate(found)
    )
    return "\n".join(lines) + "\n"


@pytest.fixture
def find(tmp_path, spark_home):
    """Find the archive of a small Spark, with a cache of its own."""
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def call(description=HOTSPOT, conf=None, **variables):
        java = Java(home=tmp_path / "java", version=17, description=description)
        return find_class_archive(java, spark_home, conf or {}, environment | variables)

    return call


def test_first_program_notes_its_classes_and_a_later_one_maps_the_archive(find):
    first = find()
    assert first.java_options() == f'"-XX:DumpLoadedClassList={first.classes}"'
    first.path.write_bytes(b"archive")
    later = find()
    assert later.path == first.path
    assert later.java_options() == f'"-XX:SharedArchiveFile={first.path}" -Xlog:cds*=off'


def test_two_programs_at_once_note_their_classes_apart(find):
    assert find().classes != find().classes


def test_what_changes_the_class_path_has_an_archive_of_its_own(find, spark_home, tmp_path):
    paths = [find().path, find(HOTSPOT.replace("17+6", "17+7")).path]
    paths.append(find(conf={"spark.driver.extraClassPath": "/more.jar"}).path)
    paths.append(find(HADOOP_CONF_DIR="/etc/hadoop").path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "spark-defaults.conf").write_text("spark.driver.extraClassPath /x.jar")
    paths.append(find(SPARK_CONF_DIR=str(tmp_path / "conf")).path)
    os.utime(spark_home / "jars" / "spark-core.jar", (1, 1))
    paths.append(find().path)
    (spark_home / "jars" / "another.jar").touch()
    paths.append(find().path)
    assert len(set(paths)) == len(paths)
    assert find().path == paths[-1]


def test_none_where_it_is_not_wanted_or_cannot_be(find, tmp_path, monkeypatch):
    assert find(conf={SETTING: "False"}) is None
    assert find(conf={SETTING: "true"}) is not None
    assert find("Eclipse OpenJ9 VM (build 0.40, JRE 17 Linux amd64-64-Bit)") is None
    assert find(HOTSPOT.replace(", sharing", "")) is None
    (tmp_path / "file").touch()
    assert find(XDG_CACHE_HOME=str(tmp_path / "file")) is None


def test_nothing_is_written_under_continuous_integration(find, tmp_path):
    assert find(CI="true") is None
    assert not (tmp_path / "cache").exists()
    assert find(CI="false") is not None
    found = find(CI="1")
    assert found.java_options() == "" and found.classes is None
    found.path.write_bytes(b"from a cache that was brought along")
    os.utime(found.path, (1, 1))
    assert find(CI="true").java_options().startswith('"-XX:SharedArchiveFile=')
    assert found.path.stat().st_mtime == 1


@pytest.mark.parametrize("sign", [".dockerenv", "run/.containerenv", "KUBERNETES_SERVICE_HOST"])
def test_nothing_is_written_to_a_container_s_own_files(find, tmp_path, machine, sign):
    told = {}
    if sign.isupper():
        told[sign] = "10.0.0.1"
    else:
        (machine / sign).parent.mkdir(exist_ok=True)
        (machine / sign).touch()
    assert find(**told) is None
    assert not (tmp_path / "cache").exists()
    # A directory of the host's, or a volume.
    table = machine / "proc" / "self" / "mountinfo"
    volume = str(tmp_path).replace("_", "\\137")
    table.write_text(mounts(("/", "overlay"), (volume, "ext4"), ("/elsewhere", "tmpfs")))
    assert find(**told) is not None


@pytest.mark.parametrize("kind", ["overlay", "tmpfs"])
def test_nothing_is_written_to_files_that_do_not_last(find, tmp_path, machine, kind):
    table = machine / "proc" / "self" / "mountinfo"
    table.write_text(mounts(("/", "ext4"), (tmp_path, "ext4"), (tmp_path, kind)))
    assert find() is None
    assert not (tmp_path / "cache").exists()
    table.write_text(mounts(("/", "ext4"), (f"{tmp_path}/cach", kind)))
    assert find() is not None


def test_where_the_system_does_not_tell_of_mounts_a_container_still_counts(find, machine):
    (machine / "proc" / "self" / "mountinfo").unlink()
    assert find(KUBERNETES_SERVICE_HOST="10.0.0.1") is None
    assert find() is not None


def test_nothing_is_written_to_a_disk_that_is_nearly_full(find, tmp_path, monkeypatch):
    monkeypatch.setattr(class_archive_place, "_NEEDED_BYTES", 1 << 62)
    assert find() is None
    assert not (tmp_path / "cache").exists()


def test_who_insists_gets_one_anywhere(find, machine, monkeypatch):
    monkeypatch.setattr(class_archive_place, "_NEEDED_BYTES", 1 << 62)
    (machine / ".dockerenv").touch()
    assert find(conf={SETTING: "true"}, CI="true").classes is not None


class Gateway:
    """A JVM that this program has started, which tells its class path."""

    proc = SimpleNamespace(pid=1)

    class jvm:
        class java:
            class lang:
                class System:
                    getProperty = staticmethod(lambda name: "a.jar")


def test_one_line_tells_what_is_made_where_and_how_to_switch_it_off(find, caplog, monkeypatch):
    monkeypatch.setattr("atexit.register", lambda *arguments: None)
    with caplog.at_level("INFO", "zoo.orca"):
        found = find()
        found.make_after(Gateway())
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(found.path) in line and "spark.orca.class.archive=false" in line
    caplog.clear()
    with caplog.at_level("INFO", "zoo.orca"):
        find(conf={SETTING: "false"})
        found.path.touch()
        find().make_after(Gateway())
    assert not caplog.records
    with caplog.at_level("INFO", "zoo.orca"):
        find(CI="1")
    assert "CI is set" in caplog.text and "spark.orca.class.archive=true" in caplog.text


def test_none_for_a_user_without_a_home(find, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert find(XDG_CACHE_HOME="") is None
    assert find() is not None


def test_none_from_somebody_else_s_directory(find, monkeypatch):
    assert find() is not None
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert find() is None


def test_only_its_owner_may_read_or_write_the_directory(find):
    assert find().path.parent.stat().st_mode & 0o777 == 0o700


def test_what_no_program_uses_any_more_is_removed(find):
    path = find().path
    used, unused = path.with_name("used.jsa"), path.with_name("unused.jsa")
    killed, running = path.with_name("a.1.classes"), path.with_name("a.2.classes")
    half, lock = path.with_name("a.3.part"), path.with_name("a.lock")
    ages = [(used, 29), (unused, 31), (killed, 2), (running, 0.5), (half, 2), (lock, 2), (path, 31)]
    for file, days in ages:
        file.touch()
        os.utime(file, (time.time() - days * DAY,) * 2)
    find()
    assert [file for file, _ in ages if file.exists()] == [used, running, path]


def test_an_archive_in_use_stays(find):
    path = find().path
    path.touch()
    os.utime(path, (time.time() - 29 * DAY,) * 2)
    find()
    assert time.time() - path.stat().st_mtime < DAY


@pytest.fixture
def make(tmp_path):
    """Run the maker on a list of classes, with a java that is a shell script."""

    def call(java_does, classes="org/apache/spark/sql/execution/python/MapInArrowExec id: 1"):
        java = tmp_path / "java"
        java.write_text(
            "#!/bin/sh\n"
            'for a; do case "$a" in -XX:SharedArchiveFile=*) out="${a#*=}";; esac; done\n'
            f"{java_does}\n"
        )
        java.chmod(0o755)
        (tmp_path / "k.classes").write_text(classes)
        ended = subprocess.Popen(["true"])
        ended.wait()
        archive = tmp_path / "k.jsa"
        make_archive(archive, tmp_path / "k.classes", java, "a.jar:b.jar", ended.pid)
        assert not (tmp_path / "k.classes").exists()
        assert not list(tmp_path.glob("*.part"))
        return archive

    return call


def test_maker_leaves_the_archive(make):
    archive = make('echo "$@" > "$out"')
    assert archive.read_text().endswith("-cp a.jar:b.jar\n")
    assert not failure_of(archive).exists()


def test_maker_notes_what_java_said_and_nobody_tries_again(make, find):
    archive = make('echo half > "$out"; echo "non-empty directory" >&2; exit 1')
    assert not archive.exists()
    assert failure_of(archive).read_text() == "non-empty directory\n"
    found = find()
    failure_of(found.path).touch()
    assert find().java_options() == ""


def test_a_java_that_was_killed_says_nothing_about_the_next_one(make):
    archive = make('echo half > "$out"; kill -9 $$')
    assert not archive.exists()
    assert not failure_of(archive).exists()


def test_a_java_that_got_no_processor_may_be_tried_again(make, monkeypatch):
    monkeypatch.setattr(class_archive_maker, "_MADE_WITHIN", 0.2)
    archive = make('echo half > "$out"; exec sleep 30')
    assert not archive.exists()
    assert not failure_of(archive).exists()


def test_only_the_program_itself_starts_the_maker(find, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    find()._start_maker(os.getpid() + 1, 1, "a.jar")
    assert not started
    find()._start_maker(os.getpid(), 1, "a.jar")
    assert started


def test_program_that_sent_no_rows_makes_no_archive(make):
    archive = make('echo "$@" > "$out"', classes="java/lang/Object id: 1")
    assert not archive.exists()
    assert not failure_of(archive).exists()


def test_one_maker_at_a_time(make, tmp_path):
    with class_archive_maker._alone(tmp_path / "k.jsa") as alone:
        assert alone
        assert not make('echo "$@" > "$out"').exists()
    assert not is_locked(tmp_path / "k.jsa")
    assert make('echo "$@" > "$out"').exists()
    assert not (tmp_path / "k.lock").exists()


def test_makers_that_begin_together_make_one(tmp_path):
    archive = tmp_path / "k.jsa"
    ready, over = threading.Barrier(8), threading.Barrier(8)
    seen = []

    def make():
        ready.wait(10)
        with class_archive_maker._alone(archive) as alone:
            seen.append(alone)
            over.wait(10)

    for _ in range(10):
        seen.clear()
        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == [False] * 7 + [True]
        assert not list(tmp_path.glob("*.lock"))


def test_a_lock_that_a_killed_maker_left_is_stale_after_some_time(make, tmp_path):
    lock = tmp_path / "k.lock"
    for age, stale in ((class_archive_maker._LOCKED_WITHIN - 60, False), (3 * 3600, True)):
        lock.touch()
        os.utime(lock, (time.time() - age,) * 2)
        assert is_locked(tmp_path / "k.jsa") is not stale
        assert make('echo "$@" > "$out"').exists() is stale
    assert not list(tmp_path.glob("*.lock"))


def test_a_stale_lock_that_another_has_replaced_is_left_to_it(tmp_path, monkeypatch):
    archive, lock = tmp_path / "k.jsa", tmp_path / "k.lock"
    lock.touch()
    with monkeypatch.context() as patch:
        # It looks stale to us, and is another's new one by the time that it is moved away.
        patch.setattr(class_archive_maker, "is_locked", lambda archive: False)
        with class_archive_maker._alone(archive) as alone:
            assert not alone
    assert [file.name for file in tmp_path.glob("*.lock")] == ["k.lock"]


def test_a_program_that_ends_while_the_archive_is_made_starts_nothing(find, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    first, second = find(), find()
    for one in (first, second):
        one.classes.touch()
    with class_archive_maker._alone(first.path):
        second._start_maker(os.getpid(), 1, "a.jar")
    assert not started and not second.classes.exists()
    first.path.touch()
    first._start_maker(os.getpid(), 1, "a.jar")
    assert not started and not first.classes.exists()


def test_maker_gives_up_on_a_jvm_that_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(class_archive_maker, "_JVM_ENDS_WITHIN", 0.5)
    (tmp_path / "k.classes").write_text("anything")
    make_archive(tmp_path / "k.jsa", tmp_path / "k.classes", Path("java"), "", os.getpid())
    assert not list(tmp_path.iterdir())


PROGRAM = """
from zoo.orca import OrcaContext, init_orca_context

# A container or continuous integration would make none by itself.
init_orca_context("local", cores=1, conf={"spark.orca.class.archive": "true"})
spark = OrcaContext.get_spark_session()
assert spark.range(9).mapInArrow(lambda batches: batches, "id long").count() == 9
with open(f"/proc/{spark.sparkContext._gateway.proc.pid}/maps") as maps:
    print("maps the archive:", ".jsa" in maps.read().replace("classes.jsa", ""))
"""
#: A Java that takes the first classes of a list alone: all fifteen thousand take it a minute.
FEW_CLASSES = """#!/bin/sh
for a; do
    case "$a" in -XX:SharedClassListFile=*) sed -i '3000,$d' "${a#*=}";; esac
done
exec "%s" "$@"
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks into /proc")
def test_second_program_s_jvm_maps_what_was_made_after_the_first(tmp_path):
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(FEW_CLASSES % (find_java().home / "bin" / "java"))
    java.chmod(0o755)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "a cache")}
    environment["JAVA_HOME"] = str(tmp_path / "java")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def run():
        ended = subprocess.run(
            [sys.executable, program], capture_output=True, text=True, timeout=120, env=environment
        )
        assert ended.stderr == ""
        return ended.stdout

    assert run() == "maps the archive: False\n"
    (directory,) = (tmp_path / "a cache").iterdir()
    deadline = time.monotonic() + 400
    while not (archives := list(directory.glob("*.jsa"))) and time.monotonic() < deadline:
        assert not (failed := list(directory.glob("*.failed"))), failed[0].read_text()
        time.sleep(0.5)
    assert archives, list(directory.iterdir())
    assert run() == "maps the archive: True\n"
    assert not list(directory.glob("*.classes"))
