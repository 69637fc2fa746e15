#!/bin/busybox sh
# The first process in the machine: makes the host's root, which it sees read-only, into a root
# of its own that forgets what is written, and starts the job in it.
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /lower /upper /new
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "$module" || echo "vm: cannot load $module"
done < /modules/order
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /lower || exec sh
mount -t tmpfs upper /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /new
for directory in proc sys dev; do
    mkdir -p /new/$directory
    mount --move /$directory /new/$directory
done
for directory in run dev/shm; do
    mkdir -p /new/$directory
    mount -t tmpfs -o mode=1777 tmpfs /new/$directory
done
mkdir -p /new/dev/pts /new/sys/fs/cgroup
mount -t devpts -o mode=0620,ptmxmode=0666 devpts /new/dev/pts
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
mount -t securityfs securityfs /new/sys/kernel/security
mkdir -p "/new/lib/modules/$(uname -r)"
mount --bind "/new$(cat /modules/directory)" "/new/lib/modules/$(uname -r)"
mkdir /new/run/vm
cp /bin/busybox /new/run/vm/modprobe
cp /job /new/run/vm/job
echo /run/vm/modprobe > /new/proc/sys/kernel/modprobe
ip link set lo up
exec switch_root /new /bin/sh /run/vm/job
