"""Files of cgroups as kernels wrote them: a v2 container under load (6.8) and a v1 one on a hybrid host (6.18)."""

V2 = {
    "unified/cpu.stat": b"""usage_usec 93215084
user_usec 61100231
system_usec 32114853
nice_usec 0
core_sched.force_idle_usec 0
nr_periods 1742
nr_throttled 309
throttled_usec 15724019
nr_bursts 0
burst_usec 0
""",
    "unified/memory.current": b"182714368\n",
    "unified/memory.max": b"268435456\n",
    "unified/memory.peak": b"240123904\n",
    "unified/memory.swap.current": b"1048576\n",
    "unified/memory.swap.max": b"67108864\n",
    "unified/memory.events": b"low 0\nhigh 0\nmax 17\noom 2\noom_kill 1\noom_group_kill 0\n",
    "unified/memory.stat": b"""anon 61931520
file 104857600
kernel 12582912
kernel_stack 655360
pagetables 1310720
sec_pagetables 0
percpu 11520
sock 4096
shmem 8192
file_mapped 20971520
file_dirty 0
swapcached 524288
inactive_anon 1048576
active_anon 61001728
inactive_file 83886080
active_file 20963328
unevictable 0
pgfault 812345
pgmajfault 321
""",
    "unified/cpu.pressure": b"""some avg10=12.50 avg60=3.10 avg300=0.75 total=48211903
full avg10=1.25 avg60=0.31 avg300=0.07 total=4100222
""",
    "unified/memory.pressure": b"""some avg10=0.00 avg60=0.00 avg300=0.00 total=1999
full avg10=0.00 avg60=0.00 avg300=0.00 total=1500
""",
    "unified/io.pressure": b"""some avg10=0.10 avg60=0.05 avg300=0.01 total=70001
full avg10=0.10 avg60=0.04 avg300=0.00 total=65000
""",
    "unified/io.stat": b"""8:0 rbytes=4096000 wbytes=8192 rios=1000 wios=2 dbytes=512 dios=1
253:1 rbytes=100 wbytes=200 rios=3 wios=4 dbytes=0 dios=0 cost.usage=0
7:0\x20
""",
    "unified/pids.current": b"23\n",
    "unified/pids.max": b"4096\n",
    "unified/hugetlb.2MB.current": b"4194304\n",
    "unified/hugetlb.1GB.current": b"0\n",
}

V1 = {
    "cpuacct/cpuacct.usage": b"15234987345\n",
    "cpuacct/cpuacct.usage_user": b"11000000000\n",
    "cpuacct/cpuacct.usage_sys": b"4234987345\n",
    "cpu/cpu.stat": b"nr_periods 40\nnr_throttled 10\nthrottled_time 3000000001\nnr_bursts 0\nburst_time 0\n",
    "memory/memory.usage_in_bytes": b"50331648\n",
    "memory/memory.limit_in_bytes": b"67108864\n",
    "memory/memory.memsw.limit_in_bytes": b"100663296\n",
    "memory/memory.failcnt": b"5\n",
    "memory/memory.max_usage_in_bytes": b"60000000\n",
    "memory/memory.kmem.usage_in_bytes": b"2097152\n",
    "memory/memory.oom_control": b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "memory/memory.stat": b"""cache 1000
rss 2000
mapped_file 300
swap 10
pgfault 70
pgmajfault 7
inactive_file 400
hierarchical_memory_limit 67108864
hierarchical_memsw_limit 100663296
total_cache 31457280
total_rss 16777216
total_mapped_file 4194304
total_swap 8388608
total_pgfault 9000
total_pgmajfault 12
total_inactive_file 20971520
""",
    "blkio/blkio.throttle.io_service_bytes_recursive": b"""8:0 Read 4096
8:0 Write 1024
8:0 Sync 5120
8:0 Async 0
8:0 Discard 0
8:0 Total 5120
Total 5120
""",
    "blkio/blkio.throttle.io_serviced_recursive": b"8:0 Read 2\n8:0 Write 1\n8:0 Discard 0\n8:0 Total 3\nTotal 3\n",
    "pids/pids.current": b"4\n",
    "pids/pids.max": b"max\n",
    "hugetlb/hugetlb.2MB.usage_in_bytes": b"2097152\n",
    "hugetlb/hugetlb.2MB.max_usage_in_bytes": b"6291456\n",
    "unified/cpu.pressure": b"some avg10=1.00 avg60=2.00 avg300=3.00 total=9\n",
}

NET_DEV = b"""Inter-|  Receive  |  Transmit
 face |bytes  packets errs drop fifo frame compressed multicast|bytes  packets errs drop fifo colls carrier compressed
  lo: 960908808  72906  0  0  0  0  0  0 960908808  72906  0  0  0  0  0  0
  eth0:  910  7  1  2  0  0  0  0  442  5  3  4  0  0  0  0
net1.5:10 2 0 0 0 0 0 0 18446744073709551615 3 0 0 0 0 0 0
"""
