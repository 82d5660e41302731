#!/bin/sh
# The first process of the virtual machine, which plays the host of a container. It runs the script
# of the test and then ends the machine. The script may execute stoker.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /usr/bin /usr/sbin /sbin
/bin/busybox --install -s
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up
stty -F /dev/ttyS0 -opost
exec 2>&1
echo '==up'
# The test tells by this a machine that hangs from a script that does.
while sleep 5; do echo '==alive'; done &
trap 'echo "==code $?"; reboot -f' EXIT
set -u
# shellcheck source=tests/vm/lib.sh
. /lib.sh
# shellcheck source=/dev/null
. /test.sh
