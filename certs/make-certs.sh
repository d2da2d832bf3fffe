#!/usr/bin/env bash
# Creates a CA and a serving certificate for helm-guard, or a new serving certificate from an existing CA. See README.md in
# this folder.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: make-certs.sh --out DIR [--ca DIR] [--service NAME] [--namespace NAME]
                     [--san DNS:name|IP:address]... [--days N] [--ca-days N]

  --out DIR         folder for tls.crt, tls.key, ca.crt and ca.key; created if missing
  --ca DIR          sign with ca.crt and ca.key of this folder instead of making a new CA
  --service NAME    the Service that the API server calls      (default: helm-guard)
  --namespace NAME  its namespace                              (default: helm-guard)
  --san NAME        another name or address, repeatable
  --days N          validity of the serving certificate        (default: 365)
  --ca-days N       validity of the CA                         (default: 3650)

Existing files are never overwritten. Only the owner can read the keys.
TEXT
}

fail() {
  echo "make-certs.sh: $*" >&2
  exit 1
}

out="" ca="" service=helm-guard namespace=helm-guard days=365 ca_days=3650
extra=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage && exit 0 ;;
    --out | --ca | --service | --namespace | --san | --days | --ca-days)
      [ $# -ge 2 ] || fail "$1 needs a value"
      ;;
    *) fail "unknown argument $1 (see --help)" ;;
  esac
  case "$1" in
    --out) out=$2 ;;
    --ca) ca=$2 ;;
    --service) service=$2 ;;
    --namespace) namespace=$2 ;;
    --san) extra+=("$2") ;;
    --days) days=$2 ;;
    --ca-days) ca_days=$2 ;;
  esac
  shift 2
done

[ -n "$out" ] || fail "--out is missing: say where the files go (see --help)"
command -v openssl >/dev/null || fail "openssl is not installed"
for name in "$service" "$namespace"; do
  [[ $name =~ ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$ ]] || fail "not a Kubernetes name: $name"
done
for number in "$days" "$ca_days"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || fail "not a number of days: $number"
done

san="DNS:$service.$namespace.svc,DNS:$service.$namespace.svc.cluster.local"
for name in ${extra[@]+"${extra[@]}"}; do
  [[ $name =~ ^(DNS|IP):[A-Za-z0-9.:*-]+$ ]] || fail "not DNS:name or IP:address: $name"
  san+=",$name"
done

# The guard registers the ca.crt next to its serving certificate.
writes=(tls.crt tls.key)
if [ -n "$ca" ]; then
  for file in ca.crt ca.key; do
    [ -r "$ca/$file" ] || fail "cannot read $ca/$file"
  done
  [ "$ca/ca.crt" -ef "$out/ca.crt" ] || writes+=(ca.crt)
else
  writes+=(ca.crt ca.key)
fi
for file in "${writes[@]}"; do
  if [ -e "$out/$file" ] || [ -L "$out/$file" ]; then
    fail "$out/$file exists: it is not overwritten"
  fi
done

# Others can never read the keys, not even while they are written. Incomplete files never appear under their final names.
umask 077
mkdir -p "$out"
work=$(mktemp -d "$out/.make-certs.XXXXXX")
trap 'rm -rf "$work"' EXIT

cat >"$work/config" <<CONFIG
[req]
distinguished_name = name
prompt = no
[name]
CN = $service.$namespace.svc
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = $san
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CONFIG

new_key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

if [ -z "$ca" ]; then
  new_key "$work/ca.key"
  openssl req -x509 -new -sha256 -key "$work/ca.key" -days "$ca_days" \
    -subj "/CN=helm-guard-ca" -config "$work/config" -extensions ca -out "$work/ca.crt"
  ca_from=$work
else
  ca_from=$ca
  cp "$ca/ca.crt" "$work/ca.crt"
fi

new_key "$work/tls.key"
openssl req -new -sha256 -key "$work/tls.key" -config "$work/config" -out "$work/tls.csr"
openssl x509 -req -sha256 -in "$work/tls.csr" -CA "$ca_from/ca.crt" -CAkey "$ca_from/ca.key" \
  -set_serial "0x$(openssl rand -hex 16)" -days "$days" \
  -extfile "$work/config" -extensions leaf -out "$work/tls.crt" 2>/dev/null
openssl verify -CAfile "$ca_from/ca.crt" "$work/tls.crt" >/dev/null

for file in "${writes[@]}"; do
  mv -n "$work/$file" "$out/$file"
  echo "wrote $out/$file"
done
chmod 644 "$out/tls.crt" "$out/ca.crt"
echo "names: $san"
openssl x509 -in "$out/tls.crt" -noout -enddate | sed 's/notAfter=/valid until /'
