#!/bin/sh
# Dispatches the tenant NAME in a cgroup with parameters, an object in JSON; prints the dispatch.
#   dispatch.sh NAME CGROUP '{"params_object": {"customer_name": "acme"}}'
set -eu
curl --silent --show-error --fail-with-body \
    --unix-socket "${OUTBOUND_SOCKET:-/run/outbound/admin.sock}" \
    --json "{\"worker\": \"$1\", \"cgroup\": \"$2\", \"outbound\": $3}" \
    "http://agent/v1/namespaces/${OUTBOUND_NAMESPACE:-production}/dispatch"
