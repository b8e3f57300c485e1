"""The seccomp profile: names that libseccomp knows on both processors, and none that a node must not have."""

from __future__ import annotations

import json
from pathlib import Path

from tools import Problems, ask

PROFILE = "deploy/container/seccomp.json"
#: Debian's names of processors, and those of the profile.
PROCESSORS = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
#: What x86-64 kept from earlier days, and what everything newer has in its place: where the one is allowed, so must be
#: the other, or the profile holds on one of the processors only.
NEWER = {
    "access": "faccessat",
    "chmod": "fchmodat",
    "dup2": "dup3",
    "epoll_create": "epoll_create1",
    "epoll_wait": "epoll_pwait",
    "eventfd": "eventfd2",
    "getdents": "getdents64",
    "getpgrp": "getpgid",
    "inotify_init": "inotify_init1",
    "link": "linkat",
    "lstat": "newfstatat",
    "mkdir": "mkdirat",
    "open": "openat",
    "pause": "ppoll",
    "pipe": "pipe2",
    "poll": "ppoll",
    "readlink": "readlinkat",
    "rename": "renameat2",
    "rmdir": "unlinkat",
    "select": "pselect6",
    "signalfd": "signalfd4",
    "stat": "newfstatat",
    "symlink": "symlinkat",
    "time": "clock_gettime",
    "unlink": "unlinkat",
}
#: Ways out of a container, into other processes, and into the kernel.
NEVER = set(
    """
    acct add_key bpf chroot clone3 create_module delete_module finit_module fsconfig fsmount fsopen fspick init_module
    io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl mknod mknodat
    mount mount_setattr move_mount name_to_handle_at open_by_handle_at open_tree perf_event_open personality pidfd_getfd
    pivot_root process_vm_readv process_vm_writev ptrace quotactl reboot request_key setdomainname sethostname setns
    settimeofday swapoff swapon syslog umount umount2 unshare userfaultfd
    """.split()
)


def check(tree: Path) -> Problems:
    """All problems of the profile."""
    profile = json.loads((tree / PROFILE).read_text())
    problems: Problems = []
    if profile["defaultAction"] != "SCMP_ACT_ERRNO":
        problems.append("what is not listed is allowed")
    if {entry["architecture"] for entry in profile["archMap"]} != set(PROCESSORS.values()):
        problems.append(f"processors other than {', '.join(PROCESSORS)}")
    if any(entry["subArchitectures"] for entry in profile["archMap"]):
        problems.append("programs of another kind of processor could get around it")
    named = [name for rule in profile["syscalls"] for name in rule["names"]]
    if any(rule["action"] != "SCMP_ACT_ALLOW" for rule in profile["syscalls"]):
        problems.append("a rule that does not allow")
    names = set(named)
    problems += [f"{name} is allowed" for name in sorted(names & NEVER)]
    free = [name for rule in profile["syscalls"] if "args" not in rule for name in rule["names"]]
    problems += [
        f"{name} is allowed with any argument" for name in ("clone", "mmap", "mprotect", "socket") if name in free
    ]
    problems += [f"{name} is there twice" for name in sorted(names) if free.count(name) > 1]
    problems += [
        f"{old} is allowed and {new} is not" for old, new in NEWER.items() if old in names and new not in names
    ]
    for name in sorted(names):
        for processor in PROCESSORS:
            # A name of another processor has a negative number; one of none is -1.
            number = ask("scmp_sys_resolver", "-a", processor, name).stdout.strip()
            if number in ("", "-1"):
                problems.append(f"{name} is no system call on {processor}")
            elif processor == "aarch64" and number.startswith("-") and name not in {*NEWER, "arch_prctl"}:
                problems.append(f"{name} is not there on {processor}, and no newer one is known")
    return [f"seccomp.json: {problem}" for problem in problems]
