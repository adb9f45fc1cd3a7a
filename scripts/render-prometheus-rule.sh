#!/bin/sh
# Writes k8s/monitoring/prometheus-rule.yaml, the form of the rules that the Prometheus operator
# takes, from impetus.rules.yml beside it. `--stdout` shows it instead; a test holds it against the
# file, so that neither is changed without the other.
#
# The `spec` of a PrometheusRule is the rules file as it stands, so nothing needs to be understood:
# its lines from `groups:` on are moved in by two columns, and comments with them. Text in a block
# scalar moves along, which leaves it as it was.

set -eu

folder=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)/k8s/monitoring

render() {
    cat <<'HEAD'
# Made by scripts/render-prometheus-rule.sh from impetus.rules.yml. Do not edit: change that one,
# then `make manifests`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: impetus
  labels:
    app.kubernetes.io/name: impetus
    app.kubernetes.io/part-of: impetus
    # What kube-prometheus asks of rules for its own Prometheus.
    prometheus: k8s
    role: alert-rules
spec:
HEAD
    sed -n '/^groups:/,$p' "$folder/impetus.rules.yml" | sed 's/^..*$/  &/'
}

case "${1:-}" in
    --stdout) render ;;
    '') render >"$folder/prometheus-rule.yaml" ;;
    *) echo "usage: $0 [--stdout]" >&2; exit 64 ;;
esac
