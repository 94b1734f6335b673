"""A sensible policy for coding, as a person might write it: what the tests of the whole judge by."""

from agentd.core.policy.shell.judge import Setting
from agentd.core.policy.shell.rules import Effect, Rule, Ruleset
from agentd.core.policy.shell.script import Unread

HOME = "/srv/agent"
SETTING = Setting(cwd=f"{HOME}/ws", home=HOME, workspace=f"{HOME}/ws")

READABLE = ("workspace/**", "temp", "system", "devices")
WRITABLE = ("workspace/**", "temp")
SECRETS = (
    "home/.ssh/**",
    "home/.aws/**",
    "home/.gnupg/**",
    "home/secret.txt",
    "**/.env",
    "**/*.pem",
    "/proc/*/environ",
    "/proc/*/root/**",
)
PROTECTED = (
    "workspace/.git/hooks/**",
    "workspace/.git/config",
    "workspace/.claude/**",
    "workspace/.codex/**",
    "workspace/.mcp.json",
    "workspace/.envrc",
)

_QUIET = (
    "echo printf true false : pwd whoami id uname date hostname sleep seq printenv which type command basename "
    "dirname nproc test [ [[ (( expr wait jobs break  continue return shift exit set shopt trap umask local read "
    "let times cd pushd popd clear cal yes pgrep ps tput getent pstree ipcs bc tr xsel pbcopy kill disown  export "
    "declare readonly unset typeset getopts hash locale numfmt factor free uptime arch tty groups logname env "
).split()
_READING = (
    "cat tac nl rev od xxd hexdump strings base64 head tail less more zcat zless wc cut paste column fold comm join "
    "uniq diff cmp md5sum sha1sum sha256sum stat file  readlink realpath ls tree du df grep egrep fgrep rg awk gawk "
    "mawk jq find readelf objdump ldd nm pv pr md5 shuf openssl svn fmt expand unexpand look dos2unix inotifywait "
).split()
_WRITING = (
    "sed sort tee touch truncate mkdir rmdir rm unlink shred mv cp install ln dd chmod patch split csplit gzip "
    "gunzip bzip2 bunzip2 xz unxz zip unzip tar mktemp rename  cpio pax mogrify convert script sqlite3 git "
).split()
_BUILDING = (
    "make cmake ninja gcc g++ cc c++ clang ld ar go cargo rustc javac java ant mvn gradle node npm npx yarn pnpm "
    "python python3 perl ruby pytest tox ruff mypy black pip  bash sh dash source . eval exec matlab "
).split()
_WRAPPING = "time timeout nice ionice nohup xargs flock setsid stdbuf".split()

CODING = Ruleset(
    "coding",
    (
        Rule(
            "secrets",
            Effect.DENY,
            "ops",
            "secrets are not an agent's business",
            "files of the workspace",
            reads=SECRETS,
            writes=SECRETS,
        ),
        Rule(
            "protected",
            Effect.DENY,
            "ops",
            "what starts programs later is not changed",
            "any other file",
            writes=PROTECTED,
        ),
        Rule(
            "root",
            Effect.DENY,
            "ops",
            "nothing runs as somebody else",
            programs=("sudo", "su", "doas", "pkexec", "runuser", "chroot"),
        ),
        Rule("forbid", Effect.DENY, "ops", "this program is forbidden", programs=("forbid",)),
        Rule(
            "shell-stdin", Effect.DENY, "ops", "a shell is told what it is to do in the command", opaque=(Unread.STDIN,)
        ),
        Rule("quiet", Effect.ALLOW, "ops", programs=tuple(_QUIET), reads=READABLE, writes=WRITABLE, unknown=True),
        Rule("reading", Effect.ALLOW, "ops", programs=tuple(_READING), reads=READABLE, writes=WRITABLE, unknown=True),
        Rule("writing", Effect.ALLOW, "ops", programs=tuple(_WRITING), reads=READABLE, writes=WRITABLE, unknown=True),
        Rule("building", Effect.ALLOW, "ops", programs=tuple(_BUILDING), reads=READABLE, writes=WRITABLE, unknown=True),
        Rule("wrapping", Effect.ALLOW, "ops", programs=tuple(_WRAPPING)),
        Rule(
            "own-programs",
            Effect.ALLOW,
            "ops",
            programs=("workspace/**",),
            reads=READABLE,
            writes=WRITABLE,
            unknown=True,
        ),
        Rule("files-alone", Effect.ALLOW, "ops", reads=READABLE, writes=WRITABLE, unknown=True, programs=("",)),
        Rule(
            "fetching",
            Effect.ALLOW,
            "ops",
            programs=("curl", "wget"),
            reads=READABLE,
            writes=WRITABLE,
            unknown=True,
            network=True,
        ),
    ),
    Effect.ASK,
)
