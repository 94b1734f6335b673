#!/bin/bash
# Becomes PID 1 of a box: builds a root over the host's own in the namespaces that it was started in, and runs systemd there.
# Usage: box_init.sh DIRECTORY TARGET [SOURCE:PLACE]...     DIRECTORY holds upper/ work/ root/; each SOURCE is bound read-only.
set -euo pipefail
box=$1 target=$2
shift 2
root=$box/root

mount -t overlay overlay -o "lowerdir=/,upperdir=$box/upper,workdir=$box/work" "$root"
for pair in "$@"; do
  mkdir -p "$root${pair#*:}"
  mount --bind "${pair%%:*}" "$root${pair#*:}"
  mount -o remount,bind,ro "$root${pair#*:}"
done

# The kernel is the host's: its global switches must be out of reach, the ones of the box's own network may stay.
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
for switch in sysrq-trigger kmsg; do
  if [ -e "$root/proc/$switch" ]; then mount --bind /dev/null "$root/proc/$switch"; fi
done
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
# Version 2 alone: a version 1 hierarchy has no namespace of its own, and systemd would write into the host's groups.
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"

mount -t tmpfs -o mode=755,nosuid dev "$root/dev"
for node in null zero full random urandom tty; do
  : >"$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for each in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${each#*:}" "$root/dev/${each%:*}"; done
mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"
mount -t tmpfs -o mode=755,nosuid,nodev run "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmp "$root/tmp"

ip link set lo up
mkdir "$root/.host"
cd "$root"
pivot_root . .host
# Shared again, or LoadCredential= shows units an empty directory without a word.
exec chroot . /bin/bash -c '
  umount -l /.host
  rmdir /.host
  mount --make-rshared /
  exec env -i container=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /lib/systemd/systemd --unit='"$target"' --show-status=no'
