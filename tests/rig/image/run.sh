#!/bin/sh
# Entry point in the manner of a Django image's run script: run | worker | beat | migrate | collectstatic | compress | manage.
# `run` serves on BIND (ADDRESS:PORT); / and /health answer the tag. How a build behaves is in /app/behaviour; a
# container's -e of the same name wins:
#   MIGRATE_RC          exit code of migrate             MIGRATE_SECS STATIC_SECS   how long the tasks take
#   MIGRATE_SIGNAL      migrate dies of this signal      MIGRATE_NOISE_KIB          migrate prints so much
#   LEAK=VAR            migrate prints VAR's value       START_SECS                 how long until `run` listens (imports)
#   RUN_RC              `run` exits with it at once      SICK=1                     / answers, /health is 404
#   DEAF=1              `run` ignores TERM               DRAIN_SECS                 how long requests get after TERM
cd /app || exit
vars="MIGRATE_RC MIGRATE_SECS MIGRATE_SIGNAL MIGRATE_NOISE_KIB LEAK STATIC_SECS START_SECS RUN_RC SICK DEAF DRAIN_SECS"
for v in $vars; do eval "e_$v=\${$v-}"; done
. /app/behaviour
for v in $vars; do eval "[ -z \"\$e_$v\" ] || $v=\$e_$v"; done
TAG=$(cat /app/TAG); BIND=${BIND:-0.0.0.0:8000}

task() { # task NAME SECONDS
  echo "$APP $TAG: $1 begins"; sleep "${2:-0}"; echo "$APP $TAG: $1 done"; exit 0
}
migrate() {
  echo "$APP $TAG: migrate begins"; echo "  Applying antisocial.0001_initial..."
  [ -z "$LEAK" ] || eval "echo \"connecting with $LEAK=\$$LEAK\""
  [ -z "$MIGRATE_NOISE_KIB" ] || awk -v n=$((MIGRATE_NOISE_KIB * 16)) 'BEGIN { for (i = 1; i <= n; i++) printf "noise %07d %49s\n", i, "of a chatty migration" }'
  sleep "${MIGRATE_SECS:-0}"
  # The kernel spares pid 1 of a container its own signals, so a child dies, and we end as a shell does: 128 + signal.
  [ -z "$MIGRATE_SIGNAL" ] || { sh -c "kill -$MIGRATE_SIGNAL \$\$"; exit $?; }
  [ "${MIGRATE_RC:-0}" = 0 ] || { echo "django.db.utils.ProgrammingError: relation \"feeds\" already exists" >&2; exit "$MIGRATE_RC"; }
  echo "$APP $TAG: migrate done"; exit 0
}
manage() {
  echo "$APP $TAG: manage $*"
  case ${1-} in fail) exit "${2:-1}";; sleep) sleep "${2:-1}"; echo "slept";; esac
  exit 0
}
daemon() { trap 'kill $p 2>/dev/null; echo "$1: bye"; exit 0' TERM INT; echo "$APP $TAG: $1 ready"; while :; do sleep 3600 & p=$!; wait $p; done; }

case ${1:-run} in
 migrate)               migrate;;
 collectstatic|compress) task "$1" "$STATIC_SECS";;
 manage)                shift; manage "$@";;
 worker|beat)           daemon "$1";;
 health)  # not wget: busybox-static's `wget -T` crashes in an image without libnss
  printf 'GET /health HTTP/1.0\r\n\r\n' | nc -w 1 "${BIND%:*}" "${BIND##*:}" | head -1 | grep -q ' 200 ';;
 run)
  [ -z "$RUN_RC" ] || { echo "ImproperlyConfigured: SECRET_KEY" >&2; exit "$RUN_RC"; }
  mkdir -p /tmp/w; echo "$TAG" > /tmp/w/index.html; [ -n "$SICK" ] || echo "$TAG" > /tmp/w/health
  sleep "${START_SECS:-0}"
  if [ -n "$DEAF" ]; then trap '' TERM; httpd -f -p "$BIND" -h /tmp/w; exit; fi
  httpd -f -p "$BIND" -h /tmp/w & p=$!
  trap 'kill $p; sleep ${DRAIN_SECS:-0.2}; echo "bye"; exit 0' TERM INT
  echo "$APP $TAG: listening on $BIND"; wait $p; exit 1;;
 *) exit 0;;   # an unknown word falls through and succeeds, as in many such scripts
esac
