#!/usr/bin/env bash
# The floor: the shortest sequence of programs that gives what a pod with one container is, without any daemon.
# usage: floor.sh DIRECTORY RUNTIME TIMES [DEVICE...]     prints "start|stop|remove|end|attach|add|run MICROSECONDS"
#
# DIRECTORY has bundle/config.json with the namespaces of DIRECTORY/ns, and cni/{bridge,portmap}.json.
set -euo pipefail
directory=$1 runtime=$2 times=$3; shift 3
plugins=/opt/cni/bin
[ -x $plugins/bridge ] || plugins=/usr/lib/cni
name=floor-$(basename "$directory")-$$
export CNI_CONTAINERID=$name CNI_NETNS=$directory/ns/net CNI_IFNAME=eth0 CNI_PATH=$plugins
bridge=$(<"$directory/cni/bridge.json") portmap=$(<"$directory/cni/portmap.json")
now() { echo "${EPOCHREALTIME/./}"; }
said() { echo "$1 $(($(now) - $2))"; }

for ((i = 0; i < times; i++)); do
  began=$(now)
  : >"$directory/ns/net"; : >"$directory/ns/ipc"; : >"$directory/ns/uts"
  unshare --net="$directory/ns/net" --ipc="$directory/ns/ipc" --uts="$directory/ns/uts" true
  added=$(now)
  result=$(CNI_COMMAND=ADD $plugins/bridge <<<"$bridge")
  result=$(CNI_COMMAND=ADD $plugins/portmap <<<"${portmap%\}}, \"prevResult\": $result}")
  said add "$added"
  moved=$(now)
  for device in "$@"; do echo "link set dev $device netns $CNI_NETNS"; done | { [ $# = 0 ] || ip -batch -; }
  said attach "$moved"
  ran=$(now)
  "$runtime" run --detach --bundle "$directory/bundle" "$name" </dev/null >/dev/null 2>&1
  said run "$ran"
  said start "$began"

  began=$(now); "$runtime" kill "$name" KILL; said stop "$began"
  began=$(now); "$runtime" delete --force "$name"; said remove "$began"
  for device in "$@"; do
    nsenter --net="$CNI_NETNS" ip link set dev "$device" netns $$
  done
  began=$(now)
  CNI_COMMAND=DEL $plugins/portmap <<<"${portmap%\}}, \"prevResult\": $result}"
  CNI_COMMAND=DEL $plugins/bridge <<<"${bridge%\}}, \"prevResult\": $result}"
  umount "$CNI_NETNS" "$directory/ns/ipc" "$directory/ns/uts"
  said end "$began"
done
