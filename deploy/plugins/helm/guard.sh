#!/bin/sh
# What `helm guard` runs.
program=$HELM_PLUGIN_DIR/bin/helm-guard
if [ ! -x "$program" ]; then
  program=$(command -v helm-guard) || {
    echo "error: helm-guard is neither in $HELM_PLUGIN_DIR/bin nor in the PATH" >&2
    exit 1
  }
fi
exec "$program" "$@"
