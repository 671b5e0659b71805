#!/usr/bin/env bash
# The helm chart: lint, render plainly and with everything on, and see that the schema refuses what is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
chart=helm/millstream

if ! command -v helm >/dev/null; then
  echo 'helm is not here and could not be built: the chart is not checked'
  exit 0
fi

fail() { echo "chart: $*" >&2; exit 1; }
# Words that a rendering must or must not contain.
has() { grep -qF -- "$2" <<<"$1" || fail "the rendering lacks: $2"; }
lacks() { ! grep -qF -- "$2" <<<"$1" || fail "the rendering should not contain: $2"; }

helm lint --strict --quiet "$chart"

plain=$(helm template mill "$chart")
for words in 'kind: StatefulSet' 'kind: PodDisruptionBudget' 'volumeClaimTemplates:' 'readOnlyRootFilesystem: true' \
  'runAsNonRoot: true' 'path: /health/live' 'path: /health/ready' 'MILLSTREAM_PROCESS_ID' 'MILLSTREAM_GROUP_INSTANCE_ID' \
  'fieldPath: metadata.name' '"num.stream.threads" = "2"' '"bootstrap.servers" = "kafka:9092"'; do
  has "$plain" "$words"
done
lacks "$plain" 'kind: ServiceMonitor'

# Probes, service and monitor go to the port that the worker listens at.
port=$(sed -n 's/.*"http.listen" = "0\.0\.0\.0:\([0-9]*\)".*/\1/p' <<<"$plain")
[ -n "$port" ] || fail 'the settings name no port'
has "$plain" "containerPort: $port"
has "$plain" "port: $port"
has "$plain" 'targetPort: http'
[ "$(grep -c 'port: http$' <<<"$plain")" = 3 ] || fail 'three probes ask the port that is called http'

full=$(helm template millstream "$chart" --set serviceMonitor.enabled=true --set staticMembership=false \
  --set persistence.enabled=false --set podDisruptionBudget.enabled=false --set 'config.state\.memory\.bytes=268435456' \
  --set 'env[0].name=MILLSTREAM_SASL_PASSWORD,env[0].valueFrom.secretKeyRef.name=kafka,env[0].valueFrom.secretKeyRef.key=password')
monitor=$(sed -n '/kind: ServiceMonitor/,/^---/p' <<<"$full")
for words in 'kind: ServiceMonitor' 'port: http' 'path: /metrics' 'app.kubernetes.io/instance: millstream'; do has "$monitor" "$words"; done
has "$full" '"state.memory.bytes" = "268435456"'
has "$full" 'MILLSTREAM_SASL_PASSWORD'
for words in MILLSTREAM_GROUP_INSTANCE_ID volumeClaimTemplates PodDisruptionBudget e+; do lacks "$full" "$words"; done

for wrong in replicas=-1 replicas=three kafka.bootstrapServers=nowhere replica=2 'config.process\.id=a' image.pullPolicy=Often; do
  if helm template mill "$chart" --set "$wrong" >/dev/null 2>&1; then fail "the schema let $wrong through"; fi
done
echo 'chart: lint, two renderings and the schema are fine'
