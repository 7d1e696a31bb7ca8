# What RuntimeDefault means on a host with AppArmor. The daemon loads it by apparmor_parser when a container first needs it.
# No abi rule and no #include: it is to load on hosts that have the parser and none of the distribution's policies.

profile crishim-default flags=(attach_disconnected,mediate_deleted) {
  # What the container's capabilities, seccomp profile and namespaces allow is not narrowed further here.
  capability,
  network,
  unix,
  file,
  umount,

  # A container's processes among themselves; from outside whoever is unconfined, and the runtimes, which
  # some distributions give a profile of their own.
  signal (send, receive) peer=crishim-default,
  signal (receive) peer=unconfined,
  signal (receive) peer=crun,
  signal (receive) peer=runc,
  ptrace (read, readby, trace, tracedby) peer=crishim-default,

  # Mounts could lay something over the paths below.
  deny mount,

  # /proc: of files that belong to no process, only System V shared memory's limits may be written.
  deny /proc/* w,
  deny /proc/{[^1-9/],[^1-9/][^0-9/],[^1-9s/][^0-9y/][^0-9s/],[^1-9/][^0-9/][^0-9/][^0-9/]*}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny /proc/{sysrq-trigger,kmem,mem,kcore} rwklx,

  # /sys: cgroups may be written, as far as the mount lets one.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
