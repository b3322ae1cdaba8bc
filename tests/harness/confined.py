"""confined.py [LIMITS] -- COMMAND…: becomes the command, with less than this process has.

    --file-bytes N      no file may grow beyond this; a write says so instead of ending the process
    --data-bytes N      so much memory for data
    --bound-by-modes    modes of files bind it, root or not
    --within PID        in the namespaces of a `disk`

confined.py disk FOLDER BYTES: mounts a small disk there, which only this process and what runs within it see
(others by /proc/PID/root), prints `ready`, and stays until its standard input closes. Where the system
doesn't allow that, it prints why and ends. It needs no rights of its own where users may have namespaces.
"""
import argparse
import ctypes
import os
import resource
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x0002_0000, 0x1000_0000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if getattr(libc, function)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")


def disk(folder, size):
    try:
        own_namespaces()
        call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        call("mount", b"tmpfs", folder.encode(), b"tmpfs", 0, f"size={size},mode=0755".encode())
    except OSError as error:
        print(error, flush=True)
        return
    print("ready", flush=True)
    while os.read(0, 4096):
        pass


def own_namespaces():
    user, group = os.getuid(), os.getgid()
    try:
        call("unshare", CLONE_NEWNS)
    except OSError:
        call("unshare", CLONE_NEWNS | CLONE_NEWUSER)
        for name, text in [("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")]:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def enter(pid):
    """Enters the namespaces of another process, as far as they are others than ours."""
    for name, kind in [("user", CLONE_NEWUSER), ("mnt", CLONE_NEWNS)]:
        path = f"/proc/{pid}/ns/{name}"
        if os.stat(path).st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:
            with open(path) as file:
                call("setns", file.fileno(), kind)


def limit(what, least):
    """Lowers the soft limit, which can be raised again."""
    resource.setrlimit(what, (least, resource.getrlimit(what)[1]))


def confine(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--file-bytes", type=int)
    parser.add_argument("--data-bytes", type=int)
    parser.add_argument("--bound-by-modes", action="store_true")
    parser.add_argument("--within", type=int)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    folder = os.getcwd()
    if options.within:
        enter(options.within)
        os.chdir(folder)
    if options.bound_by_modes and os.getuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
                call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
    if options.file_bytes:
        limit(resource.RLIMIT_FSIZE, options.file_bytes)
    if options.data_bytes:
        limit(resource.RLIMIT_DATA, options.data_bytes)
    # Python ignores SIGXFSZ, and what it becomes does so too.
    os.execv(options.command[0], options.command)


if sys.argv[1] == "disk":
    disk(sys.argv[2], int(sys.argv[3]))
else:
    confine(sys.argv[1:])
