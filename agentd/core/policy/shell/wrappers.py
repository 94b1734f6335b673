"""Programs that run another program named by their arguments, as a table: where in them that command stands.

An option that is not listed makes the call opaque: after it nobody knows where the command begins. Facts from the programs'
manuals. Programs whose arguments need more than a table have readers in `helpers.py`.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from agentd.core.policy.shell.options import Spec, spec


class Form(StrEnum):
    """How the command stands behind the options."""

    NONE = ""  # there is none; only option values are commands
    WORDS = "words"  # as words
    TEXT = "text"  # as words that are joined by blanks and read by a shell


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A wrapper's call. `skip`: operands before the command. `texts`: options whose value is shell text."""

    options: Spec = field(default_factory=lambda: spec("", stop=True))
    form: Form = Form.WORDS
    skip: int = 0
    texts: tuple[str, ...] = ()
    assigns: bool = False  # NAME=value may stand before the command
    feeds: bool = False  # words from somewhere else are put behind, or in place of a placeholder
    replace: tuple[str, ...] = ()  # options that name the placeholder
    same: bool = False  # runs in the same process: `cd` counts for what follows
    moves: tuple[str, ...] = ()  # options with which the command runs in another directory
    verbs: tuple[
        str, ...
    ] = ()  # its options and the command stand behind one of these; with other verbs nothing is run
    looks: tuple[str, ...] = ()  # options with which nothing is run
    strict: bool = True  # options that are not listed are not let pass


def _w(options: str, **more: object) -> Wrapper:
    return Wrapper(spec(options, stop=True), **more)  # type: ignore[arg-type]  # the fields of Wrapper


def _helper(options: str, *texts: str) -> Wrapper:
    """A program that is no wrapper, but runs what some of its options name."""
    return Wrapper(spec(options), Form.NONE, texts=texts, strict=False)


_SU = (
    "c/command= l/login s/shell= m/p/preserve-environment g/group= G/supp-group= w/whitelist-environment= P/pty "
    "f/fast h/help V/version T/no-pty"
)
_SUDO = (
    "A/askpass b/background B/bell C/close-from= D/chdir= E/preserve-env e/edit g/group= H/set-home h/host= i/login "
    "K k/reset-timestamp l/list "
    "n/non-interactive p/prompt= P/preserve-groups R/chroot= r/role= S/stdin s/shell t/type= T/command-timeout= "
    "U/other-user= u/user= v/validate V/version N"
)
_XARGS = (
    "0/null a/arg-file= d/delimiter= E= e I= i/replace L/max-lines= l n/max-args= o/open-tty P/max-procs= p/interactive "
    "process-slot-var= r/no-run-if-empty s/max-chars= show-limits t/verbose x/exit"
)
_DOCKER = (
    "a/attach= d/detach e/env= env-file= h/hostname= i/interactive l/label= m/memory= p/publish= P/publish-all "
    "t/tty u/user= v/volume= w/workdir= rm name= network= net= "
    "entrypoint= mount= platform= privileged cap-add= cap-drop= cpus= device= gpus= init ipc= pid= pull= read-only "
    "restart= security-opt= shm-size= tmpfs= ulimit= userns= "
    "volumes-from= add-host= dns= q/quiet c/cpu-shares= link= expose= log-driver="
)
_STRACE = (
    "f ff F c C d h i k n q qq r t tt ttt T v V w x xx y yy Z z a= A= b= e= E= I= o= O= p= P= s= S= u= U= X= "
    "follow-forks output= trace= signal= decode-fds="
)

WRAPPERS: dict[str, Wrapper] = {
    "env": _w("i/ignore-environment 0/null u/unset= C/chdir= v/debug block-signal default-signal ignore-signal "
        "list-signal-handling argv0= a=", assigns=True, moves=("--chdir",)),
    "nice": _w("n/adjustment= 0 1 2 3 4 5 6 7 8 9 -"),
    "ionice": _w("c/class= n/classdata= t/ignore p/pid= P/pgid= u/uid="),
    "nohup": _w(""),
    "timeout": _w("k/kill-after= s/signal= f/foreground v/verbose preserve-status", skip=1),
    "setsid": _w("c/ctty f/fork w/wait"),
    "stdbuf": _w("i/input= o/output= e/error="),
    "time": _w("p/portability f/format= o/output= a/append v/verbose q/quiet", same=True, assigns=True),
    "chrt": _w("b/batch d/deadline f/fifo i/idle o/other r/rr R a/all-tasks m/max p/pid v T= P= D=", skip=1),
    "taskset": _w("a/all-tasks c/cpu-list p/pid", skip=1),
    "numactl": _w("N/cpunodebind= C/physcpubind= m/membind= i/interleave= l/localalloc p/preferred= a/all s/show "
        "H/hardware"),
    "prlimit": _w("p/pid= n/nofile= c/core= d/data= f/fsize= u/nproc= v/as= t/cpu= s/stack= m/rss= l/memlock="),
    "setarch": _w("R/addr-no-randomize L X 3 B v/verbose", skip=1),
    "linux64": _w("R v"),
    "linux32": _w("R v"),
    "setpriv": _w("reuid= regid= clear-groups keep-groups init-groups groups= inh-caps= ambient-caps= bounding-set= "
        "no-new-privs securebits= pdeathsig= reset-env"),
    "sudo": _w(_SUDO, assigns=True, moves=("--chdir", "--chroot"), looks=("--list", "--validate", "--version", "-K")),
    "doas": _w("a= C= L n s u="),
    "pkexec": _w("user= disable-internal-agent"),
    "su": Wrapper(spec(_SU), Form.NONE, texts=("--command",)),
    "runuser": _w(_SU + " u/user=", texts=("--command",)),
    "sg": Wrapper(spec("c="), Form.TEXT, skip=1, texts=("-c",)),
    "chroot": _w("userspec= groups= skip-chdir", skip=1, moves=("",)),
    "unshare": _w("m/mount u/uts i/ipc n/net p/pid U/user C/cgroup T/time f/fork r/map-root-user c/map-current-user "
        "mount-proc propagation= R/root= w/wd= S/setuid= G/setgid= kill-child keep-caps", moves=("--root", "--wd")),
    "nsenter": _w("a/all t/target= m/mount u/uts i/ipc n/net p/pid C/cgroup U/user T/time S/setuid= G/setgid= "
        "r/root w/wd F/no-fork preserve-credentials", moves=("--root", "--wd")),
    "bwrap": _w("unshare-all share-net unshare-net unshare-pid unshare-user unshare-ipc unshare-uts die-with-parent "
        "new-session proc= dev= tmpfs= dir= chdir= clearenv", moves=("",)),
    "fakeroot": _w("u s= i= l= b="),
    "proot": _w("r= b= w= 0 S= R=", moves=("",)),
    "firejail": _w("quiet noprofile private net="),
    "systemd-run": _w("user system scope q/quiet G/collect t/pty P/pipe wait r/remain-after-exit u/unit= "
        "p/property= E/setenv= d/same-dir working-directory= uid= gid= nice= S/shell on-active= "
        "on-calendar=", moves=("--working-directory",)),
    "dbus-run-session": _w("config-file= dbus-daemon="),
    "ssh-agent": _w("a= t= c s d D k E= P="),
    "xvfb-run": _w("a/auto-servernum n/server-num= s/server-args= e/error-file="),
    "unbuffer": _w("p"),
    "rlwrap": _w("a A c C= f= H= m n p r s= S= t="),
    "strace": _w(_STRACE, strict=False),
    "ltrace": _w("f S c C i t tt r e= o= p= s= n= u= x= l= b="),
    "valgrind": _w("tool= leak-check= log-file= track-origins= error-exitcode= q v", strict=False),
    "perf": _w("e= o= a g F= p= t= C= r= d v q call-graph=", verbs=("record", "stat", "trace", "mem")),
    "catchsegv": _w(""),
    "caffeinate": _w("d i m s u t= w="),
    "nocache": _w(""),
    "chpst": _w("u= U= e= b= n= / C= 0 1 2 P l= L= m= d= o= p= f= c= r= t=", moves=("",)),
    "setuidgid": _w("", skip=1),
    "softlimit": _w("a= c= d= f= l= m= o= p= r= s= t="),
    "cpulimit": _w("l/limit= p/pid= e/exe= i/include-children z b f v"),
    "command": _w("p v V", same=True, looks=("-v", "-V")),
    "builtin": _w("", same=True),
    "exec": _w("a= c l", same=True),
    "xargs": _w(_XARGS, feeds=True, replace=("-I",)),
    "watch": _w("b/beep c/color C d/differences e/errexit g/chgexit n/interval= p/precise q/equexit= t/no-title "
        "x/exec w/no-wrap", form=Form.TEXT),
    "flock": _w("c/command= s/shared x/e/exclusive u/unlock n/nb/nonblock w/wait/timeout= E/conflict-exit-code= "
        "o/close F/no-fork verbose", skip=1, texts=("--command",)),
    "script": Wrapper(spec("a/append c/command= e/return f/flush E/echo= q/quiet t/timing T/log-timing= O/log-out= "
        "I/log-in= B/log-io= m/logging-format= o/output-limit= force"), Form.NONE, texts=("--command",)),
    "xterm": _w("e T= bg= fg= geometry= hold", form=Form.TEXT),
    "screen": _w("d m D L S= A a c= e= r= R x t= q dm dmS="),
    "entr": _w("a c d n p r s z", feeds=True),
    "pipenv": _w("", verbs=("run",)),
    "poetry": _w("C/directory= n q v", verbs=("run",)),
    "direnv": _w("", skip=1, verbs=("exec",), moves=("",)),
    "bundle": _w("keep-file-descriptors gemfile=", verbs=("exec",)),
    "npx": _w("y/yes no p/package= c/call= q/quiet w/workspace=", texts=("--call",)),
    "bunx": _w("bun"),
    "uvx": _w("from= with= p/python= q/quiet isolated refresh"),
    "pipx": _w("spec= q/quiet v/verbose", verbs=("run",)),
    "docker": _w(_DOCKER, skip=1, verbs=("run", "exec", "create")),
    "podman": _w(_DOCKER, skip=1, verbs=("run", "exec", "create")),
    "busybox": _w("list"),
    "toybox": _w(""),
    "sort": _helper("compress-program= o/output= k= t= S= T=", "--compress-program"),
    "rg": _helper("pre= hostname-bin= e= f= g=", "--pre", "--hostname-bin"),
    "split": _helper("filter= l= b= n= a=", "--filter"),
    "tar": _helper("I/use-compress-program= to-command= F/info-script= new-volume-script= rsh-command= rmt-command= "
        "f/file= C/directory= T/files-from= X/exclude-from= b= g= H= K= L= "
        "V=", "--use-compress-program", "--to-command", "--info-script", "--new-volume-script", "--rsh-command", "--rmt-command"),
    "rsync": _helper("e/rsh= rsync-path= f/filter= T= M=", "--rsh"),
    "man": _helper("P/pager= H/html= C= S= L= M= E= p= R= m= e=", "--pager", "--html"),
    "zip": _helper("TT= unzip-command= x= i= t= b= P=", "-TT", "--unzip-command"),
    "git-upload-pack": _helper(""),
    "scp": _helper("S= o= i= P= F= c= l= J= D= X=", "-S"),
    "sftp": _helper("S= o= i= P= F= b= B= D= l= R= s= c= J= X=", "-S", "-D"),
    "mapfile": _helper("C= c= d= n= O= s= u= t", "-C"),
    "readarray": _helper("C= c= d= n= O= s= u= t", "-C"),
    "complete": _helper("C= F= A= G= W= P= S= X= o=", "-C"),
    "compgen": _helper("C= F= A= G= W= P= S= X= o= V=", "-C"),
    "nc": _helper("e= c= p= w= s= q= x= X=", "-e", "-c"),
    "ncat": _helper("e/exec= c/sh-exec= p= w=", "--exec", "--sh-exec"),
    "ctest": _helper("build-makeprogram="),
    "openssl": _helper(""),
}  # fmt: skip
"""By base name."""

SHELLS = frozenset("sh bash dash zsh ksh ash rbash mksh yash".split())
"""Read by the same grammar. Others (fish, csh, tcsh, nu, pwsh) have their own, so what they are told is opaque."""

FOREIGN_SHELLS = frozenset("fish csh tcsh nu pwsh powershell elvish xonsh rc es".split())

MOVED_LOADER = "ld-linux"
"""`/lib64/ld-linux-x86-64.so.2 PROGRAM` runs a program by the dynamic loader."""
