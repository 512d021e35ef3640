"""A root file system with Lambda's paths for one process, by Linux namespaces."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

SYSTEM_FOLDERS = ("bin", "etc", "lib", "lib32", "lib64", "nix", "sbin", "usr")
DEVICES = ("null", "zero", "full", "random", "urandom")
TMP_MB = 512


@cache
def isolation_refused() -> str | None:
    """Why this machine does not give a process its own root; None if it does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                on_new_root(Path(folder), {Path(folder): "/opt"}, ["/bin/sh", "-c", ":"]),
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


def on_new_root(root: Path, read_only: Mapping[Path, str], command: list[str]) -> list[str]:
    """A command line that runs `command` on a new root, mounted at `root` while it runs.

    read_only : folder of this machine -> its path on the new root
    The command runs in its own namespace of process ids: processes that it starts end with it.

    Raises FileNotFoundError if util-linux is not installed.
    """
    unshare = _tool("unshare")
    mount_point = shlex.quote(str(root))
    lines = ["set -e", f"mount -t tmpfs none {mount_point}", f"cd {mount_point}"]
    lines += ["mkdir -p dev home opt proc tmp var/task"]
    lines += [f"mount -t tmpfs -o size={TMP_MB}m none tmp"]
    for name in SYSTEM_FOLDERS:
        folder = Path("/", name)
        if folder.is_symlink():
            lines.append(f"ln -s {folder.readlink()} {name}")
        elif folder.is_dir():
            lines.append(f"mkdir {name}; mount --rbind /{name} {name}")
    for name in DEVICES:
        lines.append(f"touch dev/{name}; mount --bind /dev/{name} dev/{name}")
    # Inside a container, a new /proc cannot be mounted; then the container's own is used.
    lines.append("mount -t proc proc proc 2>/dev/null || mount --rbind /proc proc")
    for folder, path in read_only.items():
        source, target = shlex.quote(str(folder)), shlex.quote(path.lstrip("/"))
        options = ",".join(["remount", "bind", "ro", *_locked_flags(folder)])
        lines.append(
            f"mkdir -p {target}; mount --rbind {source} {target}; mount -o {options} {target}"
        )
    lines.append("mount -o remount,bind,ro .")
    lines.append(f"exec {unshare} --root=. --wd=/var/task {shlex.join(command)}")
    namespaces = ("--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")
    return [unshare, *namespaces, "/bin/sh", "-c", "\n".join(lines)]


def _locked_flags(folder: Path) -> list[str]:
    """Mount flags of the folder's file system, which a user namespace must not remove."""
    flags = {"nosuid": os.ST_NOSUID, "nodev": os.ST_NODEV, "noexec": os.ST_NOEXEC}
    return [name for name, flag in flags.items() if os.statvfs(folder).f_flag & flag]


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.defpath}:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(f"the command {name} (of util-linux) is not installed")
    return found
