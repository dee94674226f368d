"""Finding a Java, with executables that only claim to be one."""

from pathlib import Path

import pytest

from zoo.orca.context.java import Java, find_java
from zoo.orca.errors import ContextError


@pytest.fixture
def install(tmp_path):
    """Put a java that reports a version into a directory of that name; return its home."""

    def make(name, version, exit_status=0):
        home = tmp_path / name
        (home / "bin").mkdir(parents=True)
        java = home / "bin" / "java"
        java.write_text(
            f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025' >&2\nexit {exit_status}\n"
        )
        java.chmod(0o755)
        return home

    return make


def test_java_home_is_asked_first(install):
    home, other = install("a", "21.0.1"), install("b", "17.0.2")
    found = find_java({"JAVA_HOME": str(home), "PATH": str(other / "bin")}, [])
    assert (found.home, found.version) == (home, 21)


def test_java_on_path(install):
    found = find_java({"PATH": str(install("a", "17") / "bin")}, [])
    assert found.version == 17


def test_java_where_package_managers_put_it(install, tmp_path):
    home = install("openjdk-17", "17.0.2")
    assert find_java({"PATH": ""}, [f"{tmp_path}/openjdk*"]).home == home


def test_newer_java_elsewhere_beats_an_old_one_on_path(install, tmp_path):
    old, new = install("old", "1.8.0_292"), install("openjdk-17", "17.0.2")
    assert find_java({"PATH": str(old / "bin")}, [f"{tmp_path}/openjdk*"]).home == new


def test_old_java_is_named(install):
    old = install("old", "1.8.0_292")
    with pytest.raises(ContextError, match=rf"new enough: {old} \(Java 8\)"):
        find_java({"PATH": str(old / "bin")}, [])


def test_java_that_does_not_run_is_named(install):
    stub = install("stub", "17", exit_status=1)
    with pytest.raises(ContextError, match="does not run"):
        find_java({"JAVA_HOME": str(stub), "PATH": ""}, [])


def test_no_java_names_the_commands_that_install_one():
    with pytest.raises(ContextError) as caught:
        find_java({"PATH": ""}, [])
    for command in (
        "apt-get install -y openjdk-17-jre-headless",
        "dnf install -y java-17-openjdk-headless",
        "brew install openjdk@17",
    ):
        assert command in str(caught.value)


def test_the_second_compiler_waits_where_processors_are_few():
    """Only where it is known that the options are: another JVM would not start with them."""

    def options(machine, processors):
        java = Java(home=Path("/java"), version=17, description=f'openjdk version "17"\n{machine}')
        return java.compiler_options(processors)

    hotspot = "OpenJDK 64-Bit Server VM (build 17+6, mixed mode, sharing)"
    assert "Tier4" in options(hotspot, 2) and "Tier4" in options(hotspot, 4)
    assert options(hotspot, 5) == ""
    assert options("OpenJDK 64-Bit Zero VM (build 17+6, interpreted mode)", 2) == ""
    assert options("Eclipse OpenJ9 VM (build openj9-0.40.0, JRE 17 Linux amd64-64-Bit)", 2) == ""
