#!/bin/sh
# Renders the chart for `kubectl apply`: deploy/kubernetes/droveway.yaml, from the minimal example.
#   render.sh [FILE]
# Needs helm on the path; `make test-ops` leaves one in .cache/tools/commands.
set -eu

cd "$(dirname "$0")/../.."
output=${1:-deploy/kubernetes/droveway.yaml}
{
    printf '# Rendered by deploy/tools/render.sh. Change the chart or its minimal example and render again.\n'
    printf '# The configuration is in the ConfigMap; the secrets it needs are in docs/guides/deploy.md.\n'
    helm template droveway deploy/helm/droveway --namespace droveway --kube-version 1.30.0 \
        --values deploy/helm/droveway/examples/minimal/values.yaml
} >"$output"
