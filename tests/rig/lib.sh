# Shared by the rig's scripts: names, addresses, paths, helpers. Source it; never run it.
# shellcheck shell=bash disable=SC2034
set -euo pipefail
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
RIG=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "rig: $*" >&2; exit 1; }
# as_root COMMAND...: go on as root, with the variables that the rig knows.
as_root() {
  local vars
  [ $EUID != 0 ] || return 0
  command -v sudo >/dev/null || die "this needs root: run it as root, or install sudo"
  mapfile -t vars < <(env | grep -E '^(RIG_|WEB=|WRK=|BEAT=|REGISTRY=|TOOLS=)')
  exec sudo env "PATH=$PATH" "${vars[@]}" "RIG_STATE=$STATE" "$@"
}

# One rig = one RIG_NET and one RIG_STATE. Every address is in 127.0.RIG_NET.0/24, so rigs never meet.
NET=${RIG_NET:-1}
[[ $NET =~ ^[1-9][0-9]?$ ]] || die "RIG_NET is '$NET'; it must be a number from 1 to 99"
STATE=${RIG_STATE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/shipmate-rig-$NET}    # keys, engines' data, logs
[[ $STATE =~ ^/[A-Za-z0-9._/+@-]+$ ]] || die "RIG_STATE is '$STATE'; it must be an absolute path of letters, digits and ._/+@-"
case $STATE/ in /run/*|/var/run/*|/etc/*|/usr/local/*|/var/www/*|/var/lib/docker/*) die "RIG_STATE can't be in $STATE: each host has its own there";; esac
HOSTS_DIR=$STATE/hosts
SSH_PORT=${RIG_SSH_PORT:-2222}                             # sshd of host N listens on 127.0.NET.N:SSH_PORT
LB_ADDR=127.0.$NET.250:${RIG_LB_PORT:-8080}                # the load balancer, on the host `balancer`
REG_ADDR=127.0.$NET.251:${RIG_REG_PORT:-5000}              # the registry
REG_SLOW=127.0.$NET.251:${RIG_REG_SLOW_PORT:-5001}         # the same registry, RIG_RATE bytes/s a connection
RTT_NET=127.0.$((NET + 100))                               # the hosts again, behind bin/delay-proxy
APP=antisocial
REPOSITORY=thraxil/$APP
CGROUP=shipmate-rig-$NET

# A host is told by its ID: N (the same as appserverN), or `balancer`.
host_id()   { local i=${1#appserver}; [[ $i == balancer || $i =~ ^[1-9][0-9]?[0-9]?$ && $i -le 200 ]] || die "no host '$1': give a number from 1 to 200, or balancer"; echo "$i"; }
host_name() { case $1 in balancer) echo balancer;; *) echo "appserver$1";; esac; }
host_ip()   { case $1 in balancer) echo "127.0.$NET.250";; *) echo "127.0.$NET.$1";; esac; }
host_up()   { alive "$HOSTS_DIR/$1/init.pid"; }
hosts_all() { [ ! -d "$HOSTS_DIR" ] || (cd "$HOSTS_DIR" && printf '%s\n' * | sort -n | grep -v '^\*$') || true; }

# alive PIDFILE: is its process there and of this rig? The command line must name our state, so that a pid file which
# outlived a reboot never stands for, or kills, a stranger. A command line is empty in a zombie, which is dead, and while a
# program is being loaded, which takes its time when it comes from a slow disk; only the latter has an `exe`.
alive() {
  local p args=()
  while
    { read -r p < "$1" && mapfile -d '' -t args < "/proc/$p/cmdline"; } 2>/dev/null || return 1
    [ ${#args[@]} = 0 ] && readlink "/proc/$p/exe" >/dev/null
  do sleep 0.005; done
  [[ "${args[*]}" == *"$STATE/"* ]]
}
gone()      { ! alive "$1"; }
now_ms()    { local t=$EPOCHREALTIME; echo $(( ${t/./} / 1000 )); }
listening() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }
wait_for() { # wait_for SECONDS COMMAND...: poll every 20 ms until it succeeds
  local end=$(( $(now_ms) + $1 * 1000 )); shift
  until "$@" >/dev/null 2>&1; do [ "$(now_ms)" -lt "$end" ] || return 1; sleep 0.02; done
}
# daemon PIDFILE LOG COMMAND...: start it detached, holding neither our terminal nor our pipes.
daemon() {
  local pidfile=$1 log=$2; shift 2
  (cd / && exec setsid "$@") >"$log" 2>&1 </dev/null &
  echo $! > "$pidfile"
  while [ -d "/proc/$!" ] && ! alive "$pidfile"; do sleep 0.005; done    # until it is the command, no more a copy of us
}
stop_pidfile() { # TERM, wait 5 s, KILL
  if alive "$1"; then
    kill -TERM "$(<"$1")" || true
    wait_for 5 gone "$1" || kill -KILL "$(<"$1")" || true
  fi
  rm -f "$1"
}
# The host's own pid 1, which is the only child of the `unshare` that made the host.
host_init() { pgrep -P "$(<"$HOSTS_DIR/$1/init.pid")"; }
# Power loss: when pid 1 of the host dies the kernel ends all the rest at once, and `unshare` ends after it.
host_kill() {
  if host_up "$1"; then kill -KILL "$(host_init "$1")" || true; wait_for 10 gone "$HOSTS_DIR/$1/init.pid" || die "$(host_name "$1") does not die"; fi
  rm -f "$HOSTS_DIR/$1"/{init.pid,ready}
}
# in_host ID COMMAND...: run it inside the host, without ssh. -m and -p go together: the host's own /proc shows the
# host's own processes only, so that a pkill in there can't reach out.
in_host() {
  local i=$1; shift; host_up "$i" || die "$(host_name "$i") is down"
  nsenter -t "$(host_init "$i")" -m -u -p -- "$@"
}

# RIG_CPU_SHARES=4096 (of 1024) puts all that a script starts into a CPU cgroup, which shields timings from other work.
# Only where the cpu controller of cgroup v1 is mounted; elsewhere it does nothing.
if [ -n "${RIG_CPU_SHARES:-}" ] && [ -w /sys/fs/cgroup/cpu/cpu.shares ]; then
  mkdir -p "/sys/fs/cgroup/cpu/$CGROUP/ctl"
  echo "$RIG_CPU_SHARES" > "/sys/fs/cgroup/cpu/$CGROUP/cpu.shares"; echo $$ > "/sys/fs/cgroup/cpu/$CGROUP/ctl/cgroup.procs"
fi
