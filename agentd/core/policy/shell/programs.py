"""What the commonest programs do with their arguments, as a table: options, and which operands they read and write.

Facts from the programs' manuals (GNU coreutils, findutils, tar, curl ...), POSIX where they differ. A program that does not stand
here is known by its name alone: whatever of its arguments looks like a path counts as read and written.
"""

from dataclasses import dataclass
from enum import StrEnum

from agentd.core.policy.shell.options import Spec, spec


class Which(StrEnum):
    """Which operands."""

    NONE = ""
    ALL = "all"
    FIRST = "first"
    REST = "rest"  # all but the first
    LAST = "last"
    FRONT = "front"  # all but the last


@dataclass(frozen=True, slots=True)
class Program:
    """A program's arguments."""

    options: Spec
    reads: Which = Which.NONE
    writes: Which = Which.NONE
    option_reads: tuple[str, ...] = ()
    option_writes: tuple[str, ...] = ()
    tree: tuple[str, ...] = ()  # options with which it works on everything below a directory
    network: bool = False
    unless: tuple[str, ...] = ()  # with one of these options its first operand is a path, too (grep -e, sed -f)


N, ALL, FIRST, REST, LAST, FRONT = Which.NONE, Which.ALL, Which.FIRST, Which.REST, Which.LAST, Which.FRONT

_SEARCH = (
    "e/regexp= f/file= A/after-context= B/before-context= C/context= m/max-count= d/directories= D/devices= color= "
    "colour= include= exclude= "
    "exclude-dir= exclude-from= label= r/R/recursive/dereference-recursive i/ignore-case n/line-number "
    "l/files-with-matches L c/count o/only-matching v/invert-match w/word-regexp "
    "x/line-regexp q/quiet/silent s/no-messages E/extended-regexp F/fixed-strings P/perl-regexp G/basic-regexp "
    "H/with-filename h/no-filename z/null-data Z/null a/text b"
)
_COPY = (
    "r/R/recursive f/force i/interactive n/no-clobber v/verbose a/archive p t/target-directory= "
    "T/no-target-directory u/update "
    "b l/link s/symbolic-link L/dereference P/no-dereference d H x/one-file-system S/suffix= parents preserve "
    "reflink sparse= backup Z context"
)
_RM = "r/R/recursive f/force i I d/dir v/verbose one-file-system no-preserve-root preserve-root interactive"
_CH = "R/recursive c/changes f/silent/quiet v/verbose reference= h/no-dereference dereference H L P from="
_CURL = (
    "o/output= O/remote-name d/data= data-binary= data-raw= data-urlencode= data-ascii= json= F/form= form-string= "
    "H/header= X/request= u/user= A/user-agent= e/referer= "
    "x/proxy= T/upload-file= K/config= b/cookie= c/cookie-jar= D/dump-header= m/max-time= r/range= w/write-out= "
    "C/continue-at= E/cert= Q/quote= y= Y= z/time-cond= U/proxy-user= "
    "t/telnet-option= P/ftp-port= unix-socket= abstract-unix-socket= cacert= capath= key= cert-type= key-type= "
    "connect-to= resolve= retry= retry-delay= retry-max-time= max-redirs= "
    "connect-timeout= limit-rate= interface= trace= trace-ascii= stderr= output-dir= netrc-file= proto= "
    "proto-redir= url= max-filesize= hostpubmd5= socks5= socks4= socks5-hostname= "
    "socks4a= preproxy= noproxy= dns-servers= doh-url= keepalive-time= ciphers= etag-save= etag-compare= alt-svc= "
    "hsts= create-file-mode= oauth2-bearer= aws-sigv4= local-port= "
    "s/silent S/show-error f/fail L/location k/insecure v/verbose i/include I/head G/get g/globoff N/no-buffer "
    "J/remote-header-name a/append l/list-only n/netrc p/proxytunnel q/disable "
    "R/remote-time j Z/parallel compressed fail-with-body create-dirs no-progress-meter progress-bar http1.1 http2 "
    "ssl tlsv1.2 tlsv1.3 location-trusted ipv4 ipv6 4 6 0 1 2 3 # B M V h"
)
_WGET = (
    "O/output-document= o/output-file= a/append-output= i/input-file= P/directory-prefix= e/execute= t/tries= "
    "T/timeout= U/user-agent= header= post-data= post-file= body-data= body-file= "
    "method= user= password= load-cookies= save-cookies= use-askpass= config= A/accept= R/reject= D/domains= "
    "l/level= Q/quota= w/wait= B/base= X/exclude-directories= I/include-directories= "
    "ca-certificate= certificate= private-key= rejected-log= q/quiet v/verbose nv c/continue N/timestamping "
    "S/server-response r/recursive k/convert-links p/page-requisites m/mirror "
    "np nc nd x nH H L 4 6 b/background d/debug spider no-check-certificate no-verbose show-progress content-disposition"
)
_TAR = (
    "c/create x/extract/get t/list r/append u/update A f/file= C/directory= z/gzip j/bzip2 J/xz Z/compress "
    "v/verbose p/preserve-permissions k/keep-old-files O/to-stdout "
    "T/files-from= X/exclude-from= exclude= I/use-compress-program= to-command= checkpoint-action= checkpoint "
    "strip-components= transform= xform= N/newer= one-file-system h/dereference "
    "P/absolute-names F/info-script= new-volume-script= rsh-command= rmt-command= g/listed-incremental= "
    "b/blocking-factor= H/format= L/tape-length= K= V/label= wildcards null a/auto-compress "
    "remove-files overwrite owner= group= mode= mtime= sort= zstd m w U W B S G i l M n R o d/diff/compare delete"
)
_TAIL = "n/lines= c/bytes= f/follow F q/quiet v/verbose s/sleep-interval= pid= retry z/zero-terminated"
_SORT = (
    "o/output= k/key= t/field-separator= S/buffer-size= T/temporary-directory= compress-program= files0-from= "
    "random-source= batch-size= parallel= sort= "
    "u/unique n/numeric-sort r/reverse R/random-sort h/human-numeric-sort V/version-sort f/ignore-case "
    "b/ignore-leading-blanks d/dictionary-order g i M s/stable c C m/merge z/zero-terminated debug check"
)
_RG = (
    "e/regexp= f/file= pre= pre-glob= g/glob= iglob= t/type= T/type-not= A/after-context= B/before-context= "
    "C/context= m/max-count= M/max-columns= d/max-depth= r/replace= j/threads= E/encoding= "
    "color= colors= sort= sortr= ignore-file= hostname-bin= engine= path-separator= max-filesize= type-add= "
    "type-clear= context-separator= dfa-size-limit= regex-size-limit= "
    "n/line-number N i/ignore-case S/smart-case s l/files-with-matches files-without-match c/count o/only-matching "
    "v/invert-match w/word-regexp x/line-regexp q/quiet u/unrestricted "
    "F/fixed-strings P/pcre2 U/multiline L/follow a/text H/with-filename I/no-filename 0/null p/pretty z/search-zip "
    "hidden no-ignore files json heading no-heading vimgrep stats"
)
_SED = (
    "e/expression= f/file= i/in-place I n/quiet/silent E/regexp-extended r s/separate z/null-data l/line-length= "
    "u/unbuffered b/binary posix debug sandbox follow-symlinks"
)
_PIP = (
    "r/requirement= c/constraint= e/editable= t/target= i/index-url= extra-index-url= prefix= root= src= "
    "f/find-links= no-index U/upgrade user q/quiet v/verbose"
)

PROGRAMS: dict[str, Program] = {
    "cat": Program(spec("A/show-all b e E/show-ends n/number s t T/show-tabs u v"), ALL),
    "tac": Program(spec("b/before r/regex s/separator="), ALL),
    "nl": Program(spec("b/body-numbering= d= f= h= i= l= n/number-format= s= v= w="), ALL),
    "rev": Program(spec(""), ALL),
    "od": Program(spec("A= j= N/read-bytes= S= t= w c x b d o"), ALL),
    "xxd": Program(spec("l= s= c= g= r p i u b e"), FIRST, REST),
    "hexdump": Program(spec("C n= s= e= f= v"), ALL),
    "strings": Program(spec("n/bytes= t/radix= e/encoding= a/all"), ALL),
    "base64": Program(spec("d/decode i/ignore-garbage w/wrap="), ALL),
    "head": Program(spec("n/lines= c/bytes= q/quiet v/verbose z/zero-terminated"), ALL),
    "tail": Program(spec(_TAIL), ALL),
    "less": Program(spec("N S R X F i I n r o= O= k= p= t= T= P="), ALL, option_writes=("-o", "-O")),
    "more": Program(spec(""), ALL),
    "zcat": Program(spec("f/force"), ALL),
    "wc": Program(spec("l/lines w/words c/bytes m/chars L files0-from="), ALL, option_reads=("--files0-from",)),
    "cut": Program(spec("d/delimiter= f/fields= c/characters= b/bytes= s/only-delimited n output-delimiter= "
        "complement z"), ALL),
    "paste": Program(spec("d/delimiters= s/serial z"), ALL),
    "column": Program(spec("t/table s/separator= o/output-separator= c/output-width= N= R= H= x n="), ALL),
    "fold": Program(spec("w/width= s b"), ALL),
    "comm": Program(spec("1 2 3 output-delimiter= z"), ALL),
    "join": Program(spec("t= 1= 2= j= o= a= v= e= i"), ALL),
    "uniq": Program(spec("c/count d/repeated u/unique i/ignore-case f/skip-fields= s/skip-chars= w/check-chars= D "
        "z"), FIRST, REST),
    "sort": Program(spec(_SORT), ALL, option_writes=("--output",), option_reads=("--files0-from",)),
    "diff": Program(spec("u/unified c r/recursive q/brief y/side-by-side N/new-file a i b w B U= C= x/exclude= W= "
        "color"), ALL),
    "cmp": Program(spec("s/silent/quiet l n= i="), ALL),
    "md5sum": Program(spec("c/check b t quiet status"), ALL),
    "sha1sum": Program(spec("c/check b t quiet status"), ALL),
    "sha256sum": Program(spec("c/check b t quiet status"), ALL),
    "stat": Program(spec("c/format= f/file-system L/dereference t/terse printf="), ALL),
    "file": Program(spec("b/brief i/mime f/files-from= L m/magic-file= z"), ALL, option_reads=("--files-from",)),
    "readlink": Program(spec("f/canonicalize e m n q s v z"), ALL),
    "realpath": Program(spec("e m s/no-symlinks q z relative-to= relative-base="), ALL),
    "ls": Program(spec("l a/all A/almost-all h/human-readable R/recursive r/reverse t S d/directory 1 F i/inode s n "
        "o g color w/width= I/ignore= T= x C m p q Q u U v X Z L H b B c D f G k"), ALL),
    "tree": Program(spec("L= I= P= o= a d f i p u g s h C n J X r t"), ALL, option_writes=("-o",)),
    "du": Program(spec("s/summarize h/human-readable d/max-depth= a/all c/total k m b x exclude= X/exclude-from= "
        "t="), ALL),
    "df": Program(spec("h/human-readable T t= x= i k a"), ALL),
    "find": Program(spec("-delete -exec -execdir -ok -okdir -print -print0 -prune -depth -xdev -mount -follow "
        "-empty -quit -ls -not -or -and -a -o "
        "-name= -iname= -path= -ipath= -wholename= -regex= -iregex= -type= -size= -mtime= -mmin= -atime= -amin= "
        "-ctime= -cmin= -newer= -perm= -user= -group= -maxdepth= "
        "-mindepth= -printf= -fprint= -fprint0= -fprintf= -fls= -inum= -links= -uid= -gid= -fstype= -lname= "
        "-samefile= H L P"), N),
    "grep": Program(spec(_SEARCH), REST, option_reads=("--file",), unless=("--regexp", "--file")),
    "egrep": Program(spec(_SEARCH), REST, option_reads=("--file",), unless=("--regexp", "--file")),
    "fgrep": Program(spec(_SEARCH), REST, option_reads=("--file",), unless=("--regexp", "--file")),
    "rg": Program(spec(_RG), REST, option_reads=("--file", "--ignore-file"), unless=("--regexp", "--file", "--files")),
    "sed": Program(spec(_SED), REST, option_reads=("--file",), unless=("--expression", "--file")),
    "awk": Program(spec("F= v= f= -i="), REST, option_reads=("-f",), unless=("-f",)),
    "jq": Program(spec("r/raw-output n/null-input c/compact-output s/slurp e/exit-status S/sort-keys R/raw-input j "
        "a C M f/from-file L= indent= tab"), REST),
    "tr": Program(spec("d/delete s/squeeze-repeats c C/complement t")),
    "tee": Program(spec("a/append i/ignore-interrupts p"), N, ALL),
    "touch": Program(spec("a c/no-create m d/date= r/reference= t= h/no-dereference f "
        "time="), N, ALL, option_reads=("--reference",)),
    "truncate": Program(spec("s/size= c/no-create r/reference= o/io-blocks"), N, ALL),
    "mkdir": Program(spec("p/parents m/mode= v/verbose Z"), N, ALL),
    "rmdir": Program(spec("p/parents v/verbose ignore-fail-on-non-empty"), N, ALL),
    "rm": Program(spec(_RM), N, ALL, tree=("--recursive",)),
    "unlink": Program(spec(""), N, ALL),
    "shred": Program(spec("u/remove n/iterations= z/zero f/force v s/size= x"), N, ALL),
    "mv": Program(spec(_COPY), FRONT, ALL, option_writes=("--target-directory",), tree=("",)),
    "cp": Program(spec(_COPY), FRONT, LAST, option_writes=("--target-directory",)),
    "install": Program(spec("d/directory m/mode= o/owner= g/group= D t/target-directory= s/strip v p C T S= "
        "strip-program="), FRONT, LAST, option_writes=("--target-directory",)),
    "ln": Program(spec("s/symbolic f/force n/no-dereference r/relative T t/target-directory= v b i L P "
        "S="), FRONT, LAST, option_writes=("--target-directory",)),
    "dd": Program(spec("")),
    "chmod": Program(spec(_CH), N, REST, tree=("--recursive",)),
    "chown": Program(spec(_CH), N, REST, tree=("--recursive",)),
    "chgrp": Program(spec(_CH), N, REST, tree=("--recursive",)),
    "patch": Program(spec("p/strip= i/input= d/directory= o/output= R/reverse N/forward E f b r= B= z= s "
        "dry-run"), N, ALL, option_reads=("--input",), option_writes=("--output",)),
    "split": Program(spec("l/lines= b/bytes= n/number= a/suffix-length= d/numeric-suffixes x C= e t= filter= "
        "additional-suffix= u"), FIRST, REST),
    "gzip": Program(spec("d/decompress c/stdout k/keep f/force l/list r/recursive t/test v/verbose q/quiet "
        "n/no-name N/name S/suffix= 1 2 3 4 5 6 7 8 9"), ALL, ALL),
    "gunzip": Program(spec("c/stdout k/keep f/force l/list r/recursive t/test v q S="), ALL, ALL),
    "bzip2": Program(spec("d/decompress c/stdout k/keep f/force t/test v q z s 1 2 3 4 5 6 7 8 9"), ALL, ALL),
    "xz": Program(spec("d/decompress c/stdout k/keep f/force t/test v q z l T/threads= S="), ALL, ALL),
    "zip": Program(spec("r/recurse-paths q/quiet x= i= 9 0 j u m e P= T TT= unzip-command= y"), REST, FIRST),
    "unzip": Program(spec("d= l o n q v p t x= j P= Z"), FIRST, N, option_writes=("-d",)),
    "tar": Program(spec(_TAR), ALL, N, option_reads=("--files-from", "--exclude-from")),
    "curl": Program(spec(_CURL), network=True),
    "wget": Program(spec(_WGET), N, N, ("--input-file", "--post-file", "--body-file", "--config", "--load-cookies"),
        ("--output-document", "--output-file", "--append-output", "--directory-prefix", "--save-cookies"), network=True),
    "gcc": Program(spec("o= I= L= D= U= include= c S E g O O0 O1 O2 O3 Wall Wextra x= std= l= W f= "
        "m="), ALL, N, option_writes=("-o",)),
    "pip": Program(spec(_PIP, stop=False), N, N, ("--requirement", "--constraint"), ("--target",)),
    "bash": Program(spec("c x e u l i s r v n p o= O= login posix norc noprofile rcfile/init-file= restricted "
        "verbose f h k m t a b B C E H P T", stop=True), FIRST, option_reads=("--rcfile",)),
    "source": Program(spec("", stop=True), FIRST),
    "python": Program(spec("c= m= W= X= u B E I i O OO q s S v x b d P V/version h/help "
        "check-hash-based-pycs=", stop=True), FIRST),
    "perl": Program(spec("e= E= n p i l 0 w W T c d M= m= I= F= a s S u U v x C D t X", stop=True), FIRST),
    "ruby": Program(spec("e= n p i l w c r= I= C= F= a s S v W x K E= T", stop=True), FIRST),
    "node": Program(spec("e/eval= p/print= c/check r/require= import= i/interactive loader= experimental-loader= "
        "input-type= env-file= inspect inspect-brk test watch v/version", stop=True), FIRST),
    "kill": Program(spec("s= l n=")),
    "test": Program(spec("")),
    "[": Program(spec("")),
    "[[": Program(spec("")),
    "((": Program(spec("")),
    "ssh": Program(spec("o= i= F= l= p= L= R= D= W= J= b= c= E= e= I= m= O= Q= S= w= B= q v N T f n t x X Y A a C g "
        "K k M s V y 4 6", stop=True), N, N, ("-F", "-i"), ("-E",), network=True),
    "scp": Program(spec("r p q v C B 3 4 6 P= i= F= o= c= l= S= J= D= X="), FRONT, LAST, network=True),
}  # fmt: skip
"""By base name. `find`, `dd`, `tar`, `git`, `sed`, `curl` and others have readers of their own in `readers.py`."""

SAME = {
    **dict.fromkeys(".".split(), "source"),
    **dict.fromkeys("python3 python2 pypy3".split(), "python"),
    **dict.fromkeys("sh dash zsh ksh ash rbash".split(), "bash"),
    **dict.fromkeys("gawk mawk nawk".split(), "awk"),
    **dict.fromkeys("pip3".split(), "pip"),
    **dict.fromkeys("bunzip2".split(), "bzip2"),
    **dict.fromkeys("unxz".split(), "xz"),
    **dict.fromkeys("bzcat xzcat".split(), "zcat"),
    **dict.fromkeys("zless".split(), "less"),
    **dict.fromkeys("cc g++ c++ clang".split(), "gcc"),
    **dict.fromkeys("nodejs".split(), "node"),
    **dict.fromkeys("sha512sum sha224sum sha384sum".split(), "sha256sum"),
    **dict.fromkeys("cksum b2sum".split(), "md5sum"),
    **dict.fromkeys("gsed".split(), "sed"),
    **dict.fromkeys("gtar".split(), "tar"),
}  # fmt: skip
"""Programs that take another's arguments."""

PRINTS = frozenset(
    "echo printf true false : pwd whoami id uname date hostname sleep seq env printenv which type command basename "
    "dirname nproc uptime arch tty groups logname "
    "expr wait jobs break continue return shift exit set shopt trap umask ulimit local export declare typeset "
    "readonly unset getopts read let hash times disown bg fg "
    "cd pushd popd dirs clear cal yes kill pgrep nohup nice timeout xargs time test ps free lscpu factor numfmt "
    "tput ionice setsid stdbuf getconf locale".split()
)
"""Programs none of whose arguments is a path that they read or write (wrappers: what they run stands for itself)."""

NETWORK = frozenset(
    "curl wget nc ncat netcat socat telnet ftp sftp scp ssh rsync mosh dig nslookup host ping traceroute whois "
    "aria2c lftp http https xh httpie gh glab hub aws gcloud az kubectl helm "
    "docker podman apt apt-get dnf yum apk brew snap flatpak nmap openvpn wg tor cloudflared ngrok s3cmd rclone "
    "smbclient mysql psql redis-cli mongo mongosh w3m lynx links".split()
)
"""Programs that are there to speak to other machines."""

NETWORK_VERBS: dict[str, frozenset[str]] = {
    "git": frozenset(
        "fetch pull push clone ls-remote submodule remote send-pack fetch-pack archive-remote svn lfs "
        "request-pull bundle-uri".split()
    ),
    "pip": frozenset("install download wheel index search".split()),
    "npm": frozenset(
        "install i ci add update publish view outdated audit exec x login search pack init create".split()
    ),
    "pnpm": frozenset("install i add update publish dlx outdated audit".split()),
    "yarn": frozenset("install add upgrade publish dlx".split()),
    "npx": frozenset(("",)),
    "uvx": frozenset(("",)),
    "pipx": frozenset("install run upgrade".split()),
    "uv": frozenset("pip sync add tool run lock publish".split()),
    "cargo": frozenset("fetch install update publish add search login".split()),
    "go": frozenset("get install mod".split()),
    "gem": frozenset("install update push fetch".split()),
    "bundle": frozenset("install update add".split()),
    "poetry": frozenset("install add update publish lock".split()),
    "conda": frozenset("install create update search".split()),
    "openssl": frozenset("s_client s_server s_time ocsp".split()),
}
"""Programs that do so with some of their verbs. An empty verb: always."""


def program_of(name: str) -> Program | None:
    """The table's entry for a base name; versions behind a name do not count (`python3.11`)."""
    found = PROGRAMS.get(SAME.get(name, name))
    if found is None and name.startswith(("python3.", "pip3.")):
        found = PROGRAMS["python" if name[1] == "y" else "pip"]
    return found
